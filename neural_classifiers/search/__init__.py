"""A grid search that fits nothing twice, for any scikit-learn estimator; equal to `GridSearchCV`.

- `plan`: `plan_search`, all that is known of a search before its first fit.
- `fits`: `fit`, the fits that a store lacks, made here or by the workers of an executor.
- `training`: `run_training`, an estimator on one fold, and its answers.
- `executors`: processes of this machine, or a Dask cluster, as an executor.
- `results`: `collect`, scores, ranks and winner; `refit`; `held_out_answers`.
- `halving`: `halve`, the same candidates by successive halving.
- `answers`: `FitAnswer`, what is stored of a fit.
- `candidates`: `rank_candidates`, the candidates as people read them.
- `equivalence`: `describe` and `digest`, when two estimators must give the same fit.
"""
