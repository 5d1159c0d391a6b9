"""How good models are, how sure that is, and what speaks against them. Values only.

`names`: names and titles of the models, `percent`.
`scores`: `score_predictions`, `compare_predictions` and the classes of what they give.
`verdict`: `recommend_model`, `verdict_sentences`, `digits_sentence`, `comparison_in_words`.
`calibration`: `Calibrated`, temperatures and shifts of answers, `calibrate`.
`held_out`: answers on rows that a fit did not see, calibrated by the other folds.
`weaknesses`: slices, mistakes, words, occlusion, doubtful labels, `learning_curve`.
`gates`: `judge_challenger`, whether a model may serve.
"""
