"""Figures: the same bytes for the same data, small, and no markup in them is obeyed."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from neural_classifiers import plots

GRID = {
    "param_alpha": [1e-4, 1e-5, 1e-6],
    "param_solver": ["adam", "adam", "sgd"],
    "mean_test_score": [0.7, 0.8, 0.6],
    "std_test_score": [0.01, 0.02, 0.03],
    "rank_test_score": [2, 1, 3],
}
EPOCHS = [
    {"accuracy": 0.8, "loss": 0.6, "val_accuracy": 0.95, "val_loss": 0.2},
    {"accuracy": 0.9, "loss": 0.2, "val_accuracy": 0.97, "val_loss": 0.1},
]
LAYERS = [{"name": "conv", "type": "Conv2D", "output_shape": (24, 24, 64), "parameters": 1664}]
HOSTILE = [["sports", "$\\frac{1}{0}$ \\input{x} <b>100%</b>", "a" * 500], ["x", "日本 🎮", ""]]


DRAWINGS = {
    "table": lambda: plots.plot_table_head(["cat", "txt", "clean"], HOSTILE),
    "summary": lambda: plots.plot_model_summary(LAYERS, 1664),
    "confusion": lambda: plots.plot_confusion([[5, 1], [0, 3]], ["$a$", "b_c"], "title"),
    "digits": lambda: plots.plot_digits(np.eye(28)[None].repeat(12, 0), list(range(12))),
    "curves": lambda: plots.plot_learning_curves(EPOCHS),
    "grid": lambda: plots.plot_grid(GRID),
    "effects": lambda: plots.plot_grid_effects(GRID),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_figure_is_the_same_bytes_every_time_and_small(draw):
    first, second = draw(), draw()

    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert len(first) < 200_000
    image = Image.open(io.BytesIO(first))
    assert image.width > 200
    assert len(image.convert("RGB").getcolors(1 << 24)) > 2  # something is drawn
    assert not {"Software", "Creation Time"} & set(image.info)


def test_other_data_is_another_figure():
    one = plots.plot_confusion([[5, 1], [0, 3]], ["a", "b"])
    two = plots.plot_confusion([[4, 2], [0, 3]], ["a", "b"])
    assert one != two


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.plot_digits(np.zeros((0, 28, 28)), []), "expected images"),
        (lambda: plots.plot_learning_curves([]), "at least one epoch"),
        (lambda: plots.plot_confusion([[1, 2]], ["a"]), "expected"),
    ],
    ids=["digits", "curves", "confusion"],
)
def test_nothing_to_draw_is_told(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
