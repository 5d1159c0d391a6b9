"""Hold the models against each other, the simplest as the rivals, on the same comments."""

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.choice import HeldOutScores
from neural_classifiers.judgement.names import RIVALS
from neural_classifiers.judgement.scores import (
    ModelComparison,
    compare_predictions,
    correct_by_holm,
    score_predictions,
)
from tasks.references import Compared, Model, Scored


@step()
def compare_models(
    scored: list[Scored], models: dict[str, Model], seed: int, folder: Path
) -> Compared:
    """Differences of accuracy and macro-F1 for every pair of models that were scored.

    Parameters
    ----------
    scored : list of Scored
        On the same test comments.
    models : dict of str to Model
        By name: those of this run, which also answered the same training comments held out.
    seed : int
        Of the bootstrap.
    folder : Path
        Where the files go.
    """
    test = {s.name: pd.read_parquet(s.predictions.path) for s in scored}
    training = {n: pd.read_parquet(models[n].held_out.path) for n in test if n in models}
    comparisons, held_out = _pairs(test, seed), _held_out(training, seed)
    for name, values in (("comparisons", comparisons), ("held_out", held_out)):
        text = json.dumps(values, indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return Compared(
        comparisons=File.of(folder / "comparisons.json"),
        held_out=File.of(folder / "held_out.json"),
        pairs=len(comparisons),
    )


def _held_out(tables: Mapping[str, pd.DataFrame], seed: int) -> dict[str, Any]:
    """Scores of the models on training comments that they were not fitted on, and every pair."""
    columns = {
        n: (table["actual"].to_numpy(str), table["predicted"].to_numpy(str))
        for n, table in tables.items()
    }
    scores = {
        n: score_predictions(actual, answers, np.unique(actual).tolist())
        for n, (actual, answers) in columns.items()
    }
    return HeldOutScores.model_validate(
        {
            "n_rows": max(map(len, tables.values()), default=0),
            "accuracy": {name: each.accuracy for name, each in scores.items()},
            "f1_macro": {name: each.f1_macro for name, each in scores.items()},
            "comparisons": _pairs(tables, seed),
        }
    ).as_dict()


def _pairs(tables: Mapping[str, pd.DataFrame], seed: int) -> list[dict[str, Any]]:
    """Every pair compared, the simpler model as the rival, p-values corrected for their number."""
    simplest_first = sorted(tables, key=lambda name: (*RIVALS, *tables).index(name))
    comparisons = []
    for rival, name in combinations(simplest_first, 2):
        actual, ours = (tables[name][c].to_numpy(str) for c in ("actual", "predicted"))
        theirs = tables[rival]["predicted"].to_numpy(str)
        unseen = _unseen(tables[name]) & _unseen(tables[rival])
        found = compare_predictions(actual[unseen], ours[unseen], theirs[unseen], seed)
        comparisons.append(ModelComparison(model=name, rival=rival, **found.model_dump()))
    return [comparison.as_dict() for comparison in correct_by_holm(comparisons)]


def _unseen(predictions: pd.DataFrame) -> np.ndarray:
    """The rows that a model was not trained on: all, but for the one that serves."""
    if "seen" not in predictions:
        return np.ones(len(predictions), dtype=bool)
    return ~predictions["seen"].to_numpy(bool)
