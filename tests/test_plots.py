"""Figures: PNG files that are small, the same every time, and safe against hostile text."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from neural_classifiers.comments.drift import Profile
from neural_classifiers.judgement.weaknesses import CurvePoint
from neural_classifiers.report import plots
from neural_classifiers.report.diagrams import Box

CLASSES = ["science_and_technology", "sports", "video_games"]
MATRIX = [[0, 10, 26], [0, 63, 149], [0, 40, 612]]  # notebook, the scikit-learn network
EPOCHS = [  # notebook
    {"accuracy": 0.8183, "loss": 0.5862, "val_accuracy": 0.9515, "val_loss": 0.16},
    {"accuracy": 0.9424, "loss": 0.1977, "val_accuracy": 0.9730, "val_loss": 0.0870},
]
LAYERS = [
    {"name": "conv", "type": "Conv2D", "output_shape": "(24, 24, 64)", "parameters": 1664},
    {"name": "flatten", "type": "Flatten", "output_shape": "(36864,)", "parameters": 0},
]
MISTAKES = [
    {"actual": 4, "predicted": 9, "p_actual": 0.0004, "p_predicted": 0.9996},
    {"actual": 7, "predicted": 1, "p_actual": 0.3, "p_predicted": 0.612},
]
DIGITS = [str(digit) for digit in range(10)]
CALIBRATION = {
    "bins": [
        {"from": 0.5, "to": 0.6, "rows": 7, "confidence": 0.55, "accuracy": 0.57}
        | {"low": 0.25, "high": 0.84},
        {"from": 0.9, "to": 1.0, "rows": 993, "confidence": 0.99, "accuracy": 1.0}
        | {"low": 0.99, "high": 1.0},
    ]
}
STEPS = [
    [Box("words: TfidfVectorizer", ("sublinear_tf=True",)), Box("characters: TfidfVectorizer")],
    [Box("hidden_1: Dense", ("250 units, 525,250 parameters",))],
]
PROFILES = [
    Profile(
        rows=n,
        categories={"sports": 4, "games": n - 4},
        lengths=[0] * 10 + [3, n - 3] + [0] * 20,
        words={},
        n_words=50,
        n_stop_words=20,
    )
    for n in (10, 30)
]
CURVE = [
    CurvePoint(
        rows=n,
        accuracy=f,
        accuracy_error=0.01,
        f1_macro=f,
        f1_macro_error=0.02,
        f1_macro_of_folds=[f],
    )
    for n, f in ((60, 0.4), (240, 0.6))
]
HOSTILE = "$\\frac{1}{0}$ $x _ ^ & \\ # % {\x00} \ud83d 游戏 🎮 <script>alert(1)</script>\n\ttab"


def grid(fitted_as=(0, 1, 2, 3), means=(0.73, 0.73, 0.71, 0.70)):
    """A grid of four candidates."""
    return {
        "param_mlp__solver": ["adam", "adam", "sgd", "sgd"],
        "param_mlp__learning_rate": ["constant", "adaptive", "constant", "adaptive"],
        "mean_test_score": list(means),
        "std_test_score": [0.01] * 4,
        "rank_test_score": [1, 1, 3, 4],
        "fitted_as": list(fitted_as),
    }


FIGURES = {
    "head": lambda: plots.plot_table(["cat", "txt"], [["sports", "Great save!"]]),
    "confusion": lambda: plots.plot_confusion(MATRIX, CLASSES),
    "digits": lambda: plots.plot_digits(np.eye(28)[None].repeat(3, axis=0), [0, 1, 2]),
    "curves": lambda: plots.plot_learning_curves(EPOCHS),
    "mistakes": lambda: plots.plot_mistakes(np.eye(28)[None].repeat(2, axis=0), MISTAKES, DIGITS),
    "no mistakes": lambda: plots.plot_mistakes(np.zeros((0, 28, 28)), [], DIGITS),
    "calibration": lambda: plots.plot_calibration(CALIBRATION),
    "summary": lambda: plots.plot_model_summary(LAYERS, 1664),
    "pipeline": lambda: plots.plot_pipeline(STEPS),
    "drift": lambda: plots.plot_drift(*PROFILES),
    "sizes": lambda: plots.plot_sizes(CURVE),
    "no sizes": lambda: plots.plot_sizes([]),
    "grid": lambda: plots.plot_grid(grid()),
    "effects": lambda: plots.plot_grid_effects(grid()),
}


def opened(png):
    return Image.open(io.BytesIO(png))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_small_png_without_date_or_the_style_of_the_user(name):
    png = FIGURES[name]()

    image = opened(png)
    image.load()
    assert image.format == "PNG"
    assert image.info.keys() <= {"transparency"}
    assert len(png) < 200_000
    assert len(image.convert("RGB").getcolors(1 << 24)) > 2  # something was drawn
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert FIGURES[name]() == png
        assert matplotlib.rcParams["font.size"] == 30  # and the user keeps it


def test_threads_that_draw_at_once_get_the_figures_of_one_that_draws_alone():
    alone = [draw() for draw in FIGURES.values()]
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda draw: draw(), list(FIGURES.values()) * 2))

    assert drawn == alone * 2


def test_drawing_needs_no_display_and_leaves_pyplot_alone():
    code = (
        "import sys; from neural_classifiers.report.plots import plot_digits; "
        "plot_digits([[[0, 1], [1, 0]]], [7]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.plot_table([HOSTILE, "txt"], [[HOSTILE, HOSTILE * 50]]),
        lambda: plots.plot_confusion([[1, 2], [3, 4]], [HOSTILE, HOSTILE * 50]),
        lambda: plots.plot_digits(np.eye(28)[None], [HOSTILE]),
        lambda: plots.plot_mistakes(np.eye(28)[None], MISTAKES[:1], [HOSTILE * 50] * 10),
        lambda: plots.plot_grid(grid() | {f"param_{HOSTILE}": [HOSTILE * 50] * 4}),
        lambda: plots.plot_grid_effects(grid() | {f"param_{HOSTILE}": ["a", HOSTILE * 50] * 2}),
        lambda: plots.plot_model_summary([LAYERS[0] | {"name": HOSTILE * 50}], 1),
        lambda: plots.plot_pipeline([[Box(HOSTILE * 50, (HOSTILE * 50,) * 99)]]),
    ],
)
def test_hostile_text_is_drawn_as_text_and_kept_in_bounds(draw):
    width, height = opened(draw()).size

    assert width <= 1_900
    assert height <= 1_500


def test_a_table_without_rows_still_shows_its_columns():
    assert opened(plots.plot_table(["cat", "txt"], [])).height > 40


@pytest.mark.filterwarnings("error")
def test_a_class_without_rows_is_drawn_without_shares():
    assert plots.plot_confusion([[3, 1], [0, 0]], ["a", "b"]) != plots.plot_confusion(
        [[3, 1], [1, 1]], "ab"
    )


def test_many_classes_still_fit_into_a_small_file():
    matrix = np.random.default_rng(0).integers(0, 900, (60, 60))
    png = plots.plot_confusion(matrix, [f"class {i}" for i in range(60)])

    assert len(png) < 200_000
    assert opened(png).height < 3_000


def test_candidates_that_share_a_fit_share_a_line():
    own, shared = plots.plot_grid(grid()), plots.plot_grid(grid(fitted_as=(0, 0, 2, 3)))

    assert opened(own).height - opened(shared).height == pytest.approx(0.34 * 150, abs=1)


def test_a_candidate_that_failed_is_left_out_of_the_figures():
    failed = grid(means=(0.73, 0.73, 0.71, np.nan))

    assert opened(plots.plot_grid(failed)).height < opened(plots.plot_grid(grid())).height
    assert plots.plot_grid_effects(failed) != plots.plot_grid_effects(grid())


def test_an_image_is_shown_dark_on_light_as_it_is():
    image = np.zeros((28, 28))
    image[:14] = 1  # upper half full

    pixels = np.asarray(opened(plots.plot_digits([image], [8])).convert("L"))
    rows = pixels[:, pixels.shape[1] // 2]
    assert rows.min() < 20  # the full half is black
    assert rows[-20] > 235  # the empty half white


@pytest.mark.parametrize("plot", [plots.plot_grid, plots.plot_grid_effects])
def test_a_grid_without_scores_is_refused(plot):
    with pytest.raises(ValueError, match="at least one candidate with a score, got none"):
        plot(grid(means=[np.nan] * 4))


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0, "<0.1 %"), (0.0009, "<0.1 %"), (0.3, "30.0 %"), (0.9991, ">99.9 %"), (0.98, "98.0 %")],
)
def test_a_probability_that_is_not_one_is_not_shown_as_one(probability, words):
    assert plots._chance(probability) == words


def contrast(one, other):
    """By WCAG 2: (L + 0.05) / (l + 0.05) of relative luminances."""
    rgb = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("colour", "least"),
    [(plots.INK, 7), (plots.FAINT, 4.5), (plots.BLUE, 4.5), (plots.ORANGE, 3)],  # text, then marks
)
def test_colours_stand_out_from_white(colour, least):
    assert contrast(colour, "white") >= least


@pytest.mark.parametrize("share", [0, 0.5, 0.6, plots.DARK, plots.DARK + 0.001, 0.8, 1.0])
def test_figures_stand_out_from_the_cells_of_a_matrix(share):
    figures = "white" if share > plots.DARK else plots.INK

    assert contrast(figures, matplotlib.colormaps["Blues"](share)) >= 4
