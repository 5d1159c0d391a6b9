"""The grids of the searches: parameter names without prefixes, and the values to try.

A name means a parameter of the last step of the pipeline that is searched
(`comments.models.pipelines`). Light to import, since flows show these as their defaults.
"""

import json
from typing import Annotated, Any, Literal

from neural_classifiers.values import checked


def check_grid(grid: dict[str, list[Any]]) -> None:
    """Raise ValueError unless every parameter has values, and these can be written down."""
    if not grid or not all(grid.values()):
        raise ValueError(f"expected parameters with at least one value each, got {grid}")
    try:
        json.dumps(grid, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected values that JSON can hold, got {grid} ({error})") from None


Grid = Annotated[dict[str, list[Any]], checked(check_grid)]
Scoring = Literal[
    "accuracy",  # the notebook's, by scikit-learn's default for classifiers
    "balanced_accuracy",
    "f1_macro",
    "f1_weighted",
    "matthews_corrcoef",
    "neg_log_loss",
    "precision_macro",
    "recall_macro",
    "roc_auc_ovr",
]
Method = Literal["grid", "halving"]
Improvable = Literal["scikit", "keras"]

# notebook, Part 1: 108 candidates, of which 60 differ
SCIKIT_GRID: Grid = {
    "activation": ["identity", "logistic", "tanh", "relu"],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "solver": ["lbfgs", "sgd", "adam"],
    "alpha": [1e-4, 1e-5, 1e-6],
}
# notebook, Part 2: 9 candidates, 3 trainings a fold
KERAS_GRID: Grid = {"epochs": [10, 25, 50], "batch_size": [10, 25, 50]}
# what is tried with networks made for unequal classes, where they are asked for: docs/log.md
IMPROVED_GRIDS: dict[Improvable, Grid] = {
    "scikit": {"balance": [0.0, 0.5], "alpha": [0.03, 0.1]},
    "keras": {"balance": [0.0, 0.5]},
}
# blocks of a pretrained encoder that are fine-tuned; 0: a frozen encoder below the last layer
PRETRAINED_GRID: Grid = {"tuned_blocks": [0, 2]}
# logistic regression over the vectors of an encoder as it is: what its fine-tuning has to beat
PROBE_GRID: Grid = {"C": [0.1, 1.0, 10.0, 100.0], "class_weight": [None, "balanced"]}
CONSTANT_GRID: Grid = {"strategy": ["most_frequent"]}
