"""Hold the models against each other, the simplest as the rivals, on the same test comments."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.names import RIVALS
from neural_classifiers.judgement.scores import ModelComparison, compare_predictions
from tasks.references import Compared, Scored


@step()
def compare_models(scored: list[Scored], seed: int, folder: Path) -> Compared:
    """Differences of accuracy and macro-F1 for every pair of models that were scored."""
    tables = {s.name: pd.read_parquet(s.predictions.path) for s in scored}
    simplest_first = sorted(tables, key=lambda name: (*RIVALS, *tables).index(name))
    comparisons = []
    for rival, name in combinations(simplest_first, 2):
        actual, ours = (tables[name][c].to_numpy(str) for c in ("actual", "predicted"))
        theirs = tables[rival]["predicted"].to_numpy(str)
        unseen = _unseen(tables[name]) & _unseen(tables[rival])
        found = compare_predictions(actual[unseen], ours[unseen], theirs[unseen], seed)
        comparisons.append(ModelComparison(model=name, rival=rival, **found.model_dump()).as_dict())
    path = folder / "comparisons.json"
    path.write_text(json.dumps(comparisons, indent=2) + "\n", encoding="utf-8")
    return Compared(comparisons=File.of(path), pairs=len(comparisons))


def _unseen(predictions: pd.DataFrame) -> np.ndarray:
    """The rows that a model was not trained on: all, but for the one that serves."""
    if "seen" not in predictions:
        return np.ones(len(predictions), dtype=bool)
    return ~predictions["seen"].to_numpy(bool)
