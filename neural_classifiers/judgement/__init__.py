"""How good models are, how sure that is, and what speaks against them. Values only.

`names`: names and titles of the models, `percent`.
`scores`: `score_predictions`, `compare_predictions`, `correct_by_holm`, and what they give.
`choice`: `best_and_cheapest`, by answers to training rows held out; prices.
`verdict`: `Judgement`, the model to use, in sentences; `digits_sentence`, `comparison_in_words`.
`calibration`: `Calibrated`, temperatures and shifts of answers, `calibrate`.
`held_out`: answers on rows that a fit did not see, calibrated by the other folds.
`weaknesses`: slices, mistakes, words, occlusion, doubtful labels, `learning_curve`.
`gates`: `judge_challenger`, whether a model may serve.
"""
