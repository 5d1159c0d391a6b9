"""The notebook's pictures, each returned as the bytes of a PNG file.

Figures are drawn without pyplot and without a display, one at a time: matplotlib keeps its style
and its fonts in globals, so a lock lets any thread ask for one. The user's own matplotlib style is
set aside and no date or version is written, so equal input gives equal bytes. Text comes from
comments and files: it is cut, never read as mathematics, and what the font lacks becomes a box.
Colours are from the Okabe-Ito palette, and none carries a meaning alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from threading import Lock
from typing import Any

import numpy as np
from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike
from PIL import Image

from neural_classifiers.comments.drift import Profile
from neural_classifiers.judgement.weaknesses import CurvePoint
from neural_classifiers.report.diagrams import Box
from neural_classifiers.search.candidates import RankedCandidate, rank_candidates

BLUE, ORANGE, INK, FAINT, RULE = "#0072B2", "#D55E00", "#1A1A1A", "#5F5F5F", "#D0D0D0"
TINT = "#EAF3F9"
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": RULE,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.1,  # inches around the axes
    "figure.constrained_layout.h_pad": 0.1,
}
DOTS_PER_INCH = 150  # shown at half that, so that it stays sharp on dense screens
DARK = 0.68  # share above which a cell's colour is nearer to INK than to white
N_COLOURS = 64  # a palette makes the files about a third of their size
LABEL_LENGTH, LINE_LENGTH, TABLE_LENGTH = 24, 70, 110  # characters
N_COUNTED_CLASSES = 16  # beyond, counts no longer fit into the cells of a matrix
N_DRAWN_CLASSES = 12  # of a drift
N_CANDIDATES = 10  # notebook, the grid results
N_BOX_LINES, BOX_LENGTH = 6, 42  # of a step in a pipeline: lines, and characters of each

_CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
_ARROW = {"arrowstyle": "->", "color": FAINT, "shrinkA": 0, "shrinkB": 0}
_lock = Lock()


def plot_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    has_sum: bool = False,
) -> bytes:
    """Draw a table, such as the notebook's first rows, in a font of fixed width.

    The longest columns are cut until a line has at most 110 characters. There may be no rows, or
    the last one sums up the numbers in the last column.
    """
    character, line, gap = 0.0753, 0.27, 2  # inches at 9 points; inches; characters
    table = [[_text(cell, TABLE_LENGTH, mono=True) for cell in row] for row in [columns, *rows]]
    widths = _fitting([max(map(len, column)) for column in zip(*table, strict=True)])
    cells = [[_cut(cell, w) for cell, w in zip(row, widths, strict=True)] for row in table]
    starts = np.cumsum([0, *(width + gap for width in widths)])

    with _drawing(starts[-1] * character + 0.1, len(cells) * line + 0.1) as (figure, png):
        axes = _bare_axes(figure, (-1, starts[-1]), (len(cells) - 0.4, -0.7))
        for i, row in enumerate(cells):
            is_bold = i == 0 or (has_sum and i == len(cells) - 1)
            for j, cell in enumerate(row):
                to_right = has_sum and j == len(row) - 1
                axes.text(
                    starts[j] + (widths[j] if to_right else 0), i, cell,
                    ha="right" if to_right else "left", va="center",
                    family="DejaVu Sans Mono", fontsize=9, weight="bold" if is_bold else "normal",
                )  # fmt: skip
            strong = i == 0 or (has_sum and i == len(cells) - 2)
            axes.axhline(i + 0.5, color=FAINT if strong else RULE, linewidth=1 if strong else 0.6)
    return png.getvalue()


def plot_model_summary(layers: Sequence[Mapping[str, Any]], total: int) -> bytes:
    """Draw the layers of a network as a table with the `total` of their parameters (notebook).

    Layers have the keys "name", "type", "output_shape" and "parameters". Unlike the notebook's
    ``plot_model`` a table needs no Graphviz and can be read aloud.
    """
    rows = [
        [layer["name"], layer["type"], layer["output_shape"], f"{layer['parameters']:,}"]
        for layer in layers
    ]
    columns = ["layer", "type", "output shape", "parameters"]
    rows.append(["total", "", "", f"{total:,}"])
    return plot_table(columns, rows, has_sum=True)


def plot_pipeline(steps: Sequence[Sequence[Box]]) -> bytes:
    """Draw what `report.diagrams.steps_of` gives, from top to bottom: a box a step, a box a layer.

    Source: notebook, which shows its scikit-learn estimator and plots its Keras model.
    """
    width, line, gap = 3.4, 0.2, 0.3  # inches
    heights = [0.3 + line * max(len(box.lines[:N_BOX_LINES]) for box in row) for row in steps]
    tops = np.cumsum([0.1, *(height + gap for height in heights)])
    size = max(map(len, steps)) * width, tops[-1] - gap + 0.1
    with _drawing(*size) as (figure, png):
        axes = _bare_axes(figure, (0, size[0]), (size[1], 0))
        below: list[tuple[float, float]] = []  # feet of the boxes above
        for row, top, height in zip(steps, tops, heights, strict=False):
            middles = [size[0] / 2 + width * (i - (len(row) - 1) / 2) for i in range(len(row))]
            for box, middle in zip(row, middles, strict=True):
                axes.add_patch(
                    Rectangle((middle - width / 2 + 0.15, top), width - 0.3, height,
                              facecolor=TINT if box.lines else "white", edgecolor=BLUE)
                )  # fmt: skip
                title = _text(box.title, BOX_LENGTH)
                axes.text(middle, top + 0.15, title, weight="bold", **_CENTRED)
                for i, text in enumerate(box.lines[:N_BOX_LINES], start=1):
                    y = top + 0.12 + line * i
                    axes.text(middle, y, _text(text, BOX_LENGTH), fontsize=8, **_CENTRED)
                for foot in below:
                    axes.annotate("", (middle, top), foot, arrowprops=_ARROW)
            below = [(middle, top + height) for middle in middles]
    return png.getvalue()


def plot_confusion(matrix: ArrayLike, labels: Sequence[str]) -> bytes:
    """Draw a confusion matrix: counts, and their share of the actual class in figures and colour.

    Of shape (n_classes, n_classes) in the order of `labels`: rows are actual classes, columns
    predicted ones. Above 16 classes colour speaks alone.

    Notes
    -----
    Source: notebook, its two heat maps. They show counts alone, where the largest class drowns
    the others: colour follows the share of the actual class instead.
    """
    counts, n = np.asarray(matrix), len(labels)
    actual = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, actual, out=np.zeros(counts.shape), where=actual > 0)
    names = [_text(label, LABEL_LENGTH) for label in labels]
    cell = 1.05 if n <= 4 else max(0.22, 6.0 / n)  # inches
    label = max(map(len, names)) * 0.09  # a character takes about 0.09 inches

    with _drawing(max(3.4, n * cell + label + 0.9), n * cell + 1.3) as (figure, png):
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(counts.shape) if n <= N_COUNTED_CLASSES else ():
            share = f"\n{100 * shares[i, j]:.0f} %" if shares[i, j] >= 0.005 else ""
            axes.text(
                j, i, f"{counts[i, j]:,}{share}", fontsize=10 if n <= 6 else 8,
                color="white" if shares[i, j] > DARK else INK, **_CENTRED,
            )  # fmt: skip
        angle = (30 if n <= N_COUNTED_CLASSES else 90) if label > cell else 0
        axes.set_xticks(
            range(n), names, rotation=angle, ha="right" if angle == 30 else "center",
            rotation_mode="anchor" if angle == 30 else "default",
        )  # fmt: skip
        axes.set_yticks(range(n), names)
        axes.set(xlabel="predicted", ylabel="actual")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return png.getvalue()


def plot_digits(images: ArrayLike, labels: Sequence[Any]) -> bytes:
    """Draw images of shape (n_images, height, width) with their labels, ten to a line (notebook).

    Pixels are grey values, 0 for the background; each image uses the whole range.
    """
    titles = [(_text(label, 11), 10 if len(str(label)) < 8 else 7) for label in labels]
    return _images(np.asarray(images), titles, n_columns=10, cell=(0.75, 1.0))


def plot_mistakes(
    images: ArrayLike, mistakes: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> bytes:
    """Draw images that were read wrongly: what each is, what it was taken for, how surely.

    For each image of shape (height, width) a mistake has the keys "actual" and "predicted"
    (positions in `labels`), "p_actual" and "p_predicted". Without any the picture says so.
    """
    if not mistakes:
        with _drawing(6.5, 0.6) as (figure, png):
            figure.text(0.5, 0.5, "no image was read wrongly", **_CENTRED)
        return png.getvalue()
    titles = []
    for mistake in mistakes:
        actual, predicted = (labels[mistake[key]] for key in ("actual", "predicted"))
        words = (
            f"{_text(actual, 11)} \N{RIGHTWARDS ARROW} {_text(predicted, 11)}\n"
            f"{_chance(mistake['p_actual'])} | {_chance(mistake['p_predicted'])}"
        )
        titles.append((words, 10 if max(len(actual), len(predicted)) < 4 else 7))
    return _images(np.asarray(images), titles, n_columns=5, cell=(1.3, 1.75))


def _chance(probability: float) -> str:
    """A probability in few characters; what is neither 0 nor 1 is not written as such."""
    percent = 100 * probability
    if percent < 0.1:
        return "<0.1 %"
    return ">99.9 %" if percent > 99.9 else f"{percent:.1f} %"


def plot_calibration(calibration: Mapping[str, Any], unit: str = "images") -> bytes:
    """Draw the reliability curve of `judgement.calibration.calibrate`: how sure, how often right.

    `unit` is what was answered.
    """
    bins = calibration["bins"]
    confidence = [each["confidence"] for each in bins]
    accuracy = np.array([each["accuracy"] for each in bins])
    errors = [accuracy - [b["low"] for b in bins], [b["high"] for b in bins] - accuracy]
    with _drawing(5.2, 4.2) as (figure, png):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
        upper.plot([0, 1], [0, 1], "--", color=FAINT, linewidth=1, label="as sure as right")
        upper.errorbar(
            confidence, accuracy, yerr=np.maximum(errors, 0), fmt="o-", color=BLUE, capsize=3,
            label="this model, 95 % interval",
        )  # fmt: skip
        upper.set(ylabel="share right", ylim=(0, 1.02), xlim=(0, 1.02))
        upper.legend(loc="lower right", fontsize=8)
        upper.grid()
        counts = [each["rows"] for each in bins]
        middles = [(each["from"] + each["to"]) / 2 for each in bins]
        lower.bar(middles, counts, width=0.09, color=BLUE)
        lower.set(yscale="log", ylabel=unit, xlabel="probability of the answer")
        powers = [10**k for k in range(len(str(max(counts))))]
        lower.set_yticks(powers, [f"{power:,}" for power in powers], fontsize=8)
        lower.minorticks_off()
        lower.set_ylim(bottom=0.5)
        lower.grid(axis="y")
    return png.getvalue()


def plot_learning_curves(epochs: Sequence[Mapping[str, float]]) -> bytes:
    """Draw accuracy and loss after each epoch, on training and on validation images.

    Each epoch has the keys "accuracy", "loss", "val_accuracy" and "val_loss". Source: notebook, the
    curves of its third part, where the test set plays validation.
    """
    numbers = range(1, len(epochs) + 1)
    with _drawing(6.5, 2.9) as (figure, png):
        for axes, key in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
            for name, prefix, line, colour in (
                ("training", "", "o-", BLUE),
                ("validation", "val_", "s--", ORANGE),
            ):
                values = [epoch[f"{prefix}{key}"] for epoch in epochs]
                axes.plot(numbers, values, line, color=colour, label=name)
            axes.set(title=key, xlabel="epoch")
            axes.set_xticks(numbers if len(epochs) <= 10 else axes.get_xticks())
            axes.set_xlim(0.8, len(epochs) + 0.2)
            axes.grid(axis="y")
        figure.axes[0].legend(loc="lower right")
    return png.getvalue()


def plot_sizes(curve: Sequence[CurvePoint]) -> bytes:
    """Draw accuracy and macro-F1 by the number of comments that a model was trained on."""
    with _drawing(6.5, 2.9) as (figure, png):
        for axes, key, name in zip(
            figure.subplots(1, 2), ("accuracy", "f1_macro"), ("accuracy", "macro-F1"), strict=True
        ):
            rows = [point.rows for point in curve]
            means = [getattr(point, key) for point in curve]
            errors = [getattr(point, f"{key}_error") for point in curve]
            axes.errorbar(rows, means, yerr=errors, fmt="o-", color=BLUE, capsize=3)
            axes.set(title=name, xlabel="training comments", xscale="log")
            axes.set_xticks(rows, [f"{n:,}" for n in rows], fontsize=8, rotation=30)
            axes.minorticks_off()
            axes.grid(axis="y")
    return png.getvalue()


def plot_grid(cv_results: Mapping[str, Sequence[Any]]) -> bytes:
    """Draw the ten best fits of a grid: mean score over the folds and their spread.

    Columns are as for `rank_candidates`. Candidates that share one fit share one line, which names
    the values of all of them.
    """
    fits: dict[int, list[RankedCandidate]] = {}
    for candidate in _scored(cv_results):
        fits.setdefault(candidate.fitted_as, []).append(candidate)
    lines = list(fits.values())[:N_CANDIDATES]

    with _drawing(6.5, 1.0 + 0.34 * len(lines)) as (figure, png):
        axes = figure.add_subplot()
        for y, (fitted, *_) in enumerate(lines):
            mean, std = fitted.mean, fitted.std
            colour = ORANGE if y == 0 else BLUE
            axes.errorbar(mean, y, xerr=std, fmt="D" if y == 0 else "o", color=colour, capsize=3)
            axes.annotate(
                f"{mean:.4f}", (mean, y), xytext=(0, 5), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
        axes.set_yticks(range(len(lines)), [_candidate_name(twins) for twins in lines])
        axes.set_ylim(len(lines) - 0.5, -0.7)
        axes.set_xlabel("mean ± standard deviation of the folds", loc="right")
        axes.set_title(_text(" · ".join(lines[0][0].params), LINE_LENGTH), fontsize=9, color=FAINT)
        axes.grid(axis="y")
        axes.tick_params(axis="y", length=0, labelsize=9)
    return png.getvalue()


def plot_grid_effects(cv_results: Mapping[str, Sequence[Any]]) -> bytes:
    """Draw, for each parameter of a grid, the best and the mean score that each value reached.

    Columns are as for `rank_candidates`. Parameters with one value are left out unless all are.
    """
    candidates = _scored(cv_results)
    scores: dict[str, dict[str, list[float]]] = {}
    for candidate in sorted(candidates, key=_sort_key):
        for name, value in candidate.params.items():
            scores.setdefault(name, {}).setdefault(_text(value, 14), []).append(candidate.mean)
    varied = {name: by_value for name, by_value in scores.items() if len(by_value) > 1} or scores

    n_lines = -(-len(varied) // 2)
    with _drawing(6.5, 0.5 + 2.1 * n_lines) as (figure, png):
        cells = _cells(figure, len(varied), n_columns=2, sharey=True)
        for axes, (name, by_value) in zip(cells, varied.items(), strict=True):
            best = [max(reached) for reached in by_value.values()]
            mean = [float(np.mean(reached)) for reached in by_value.values()]
            axes.plot(range(len(best)), best, "D", color=ORANGE, label="best")
            axes.plot(range(len(mean)), mean, "o", color=BLUE, label="mean")
            axes.set_xticks(range(len(by_value)), list(by_value))
            axes.set_xlim(-0.5, len(by_value) - 0.5)
            axes.set_title(_text(name, LABEL_LENGTH))
            axes.grid(axis="y")
        figure.supylabel("cross-validated score", fontsize=10)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2
        )
    return png.getvalue()


def plot_drift(before: Profile, now: Profile) -> bytes:
    """Draw what comments were in the last run and are now: class shares, and lengths.

    Of more than twelve classes, those with most comments are drawn.
    """
    ranked = sorted(
        {*before.categories, *now.categories},
        key=lambda c: -(before.categories.get(c, 0) + now.categories.get(c, 0)),
    )
    classes = sorted(ranked[:N_DRAWN_CLASSES])
    used = np.flatnonzero(np.add(before.lengths, now.lengths))
    steps = range(used[0], used[-1] + 1) if len(used) else range(1)
    with _drawing(9, max(2.6, 0.42 * len(classes) + 1.2)) as (figure, png):
        shares, lengths = figure.subplots(1, 2)
        for profile, colour, line, name, shift in (
            (before, BLUE, "-", "last run", -0.2),
            (now, ORANGE, "--", "this run", 0.2),
        ):
            percent = 100 / max(profile.rows, 1)
            of_classes = [percent * profile.categories.get(c, 0) for c in classes]
            bars = shares.barh(
                np.arange(len(classes)) + shift, of_classes, height=0.38, color=colour, label=name
            )
            shares.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=8)
            of_lengths = [percent * profile.lengths[i] for i in steps]
            lengths.plot([2 ** (i / 2) for i in steps], of_lengths, color=colour, linestyle=line)
        shares.set_yticks(range(len(classes)), [_text(c, LABEL_LENGTH) for c in classes])
        shares.invert_yaxis()
        shares.set(xlim=(0, 115), title="Share of each class, %")
        lengths.set_xscale("log", base=2)
        marks = [4**i for i in range(13) if 4 * i in steps]
        lengths.set_xticks(marks, [f"{mark:,}" for mark in marks])
        lengths.minorticks_off()
        lengths.set(title="Comments by length, %", xlabel="characters")
        figure.legend(*shares.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return png.getvalue()


@contextmanager
def _drawing(width: float, height: float) -> Iterator[tuple[Figure, BytesIO]]:
    """Give an empty figure (inches) and the buffer that holds its PNG afterwards."""
    with _lock, style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        png = BytesIO()
        yield figure, png
        canvas.draw()
        pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        palette = pixels.quantize(N_COLOURS, dither=Image.Dither.NONE)
        palette.save(png, format="PNG", optimize=True)


def _cells(figure: Figure, n: int, n_columns: int, **options: Any) -> list[Axes]:
    """So many axes in lines of `n_columns` or, of fewer, one line; what is left over is blank."""
    n_columns = min(n, n_columns)
    grid = figure.subplots(-(-n // n_columns), n_columns, squeeze=False, **options)
    for axes in grid.flat[n:]:
        axes.axis("off")
    return list(grid.flat[:n])


def _bare_axes(figure: Figure, x: tuple[float, float], y: tuple[float, float]) -> Axes:
    """Axes without lines that fill the figure, from the left bound of `x` and the bottom of `y`."""
    figure.set_layout_engine("none")  # it would shrink the axes that the figure is made for
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=x, ylim=y)
    return axes


def _images(
    pixels: np.ndarray,
    titles: Sequence[tuple[str, int]],
    n_columns: int,
    cell: tuple[float, float],
) -> bytes:
    """Draw images of shape (n, height, width) with titles (text, points), in cells (inches)."""
    n_lines = -(-len(pixels) // n_columns)
    width, height = cell
    with _drawing(width * min(len(pixels), n_columns), height * n_lines) as (figure, png):
        cells = _cells(figure, len(pixels), n_columns)
        for axes, image, (title, size) in zip(cells, pixels, titles, strict=True):
            axes.axis("off")
            axes.imshow(image, cmap="gray_r", interpolation="nearest")
            axes.set_title(title, fontsize=size, loc="center")
    return png.getvalue()


def _fitting(widths: Sequence[int]) -> list[int]:
    """Widths of columns, the widest cut evenly until a table has `TABLE_LENGTH` characters."""
    widest = max(widths)
    while sum(min(width, widest) for width in widths) > TABLE_LENGTH and widest > 1:
        widest -= 1
    return [min(width, widest) for width in widths]


def _scored(cv_results: Mapping[str, Sequence[Any]]) -> list[RankedCandidate]:
    """The candidates that have a score, best first."""
    scored = [c for c in rank_candidates(cv_results) if np.isfinite(c.mean)]
    if not scored:
        raise ValueError("expected at least one candidate with a score, got none")
    return scored


def _candidate_name(twins: Sequence[RankedCandidate]) -> str:
    """Name a line of the grid by its values; twins that share a fit differ in some of them."""
    values = {name: [t.params.get(name, "") for t in twins] for name in twins[0].params}
    return _text(
        " · ".join("/".join(dict.fromkeys(map(str, each))) for each in values.values()), LINE_LENGTH
    )


def _sort_key(candidate: RankedCandidate) -> tuple[tuple[bool, Any], ...]:
    """Order values as people count: numbers by size, then words by letter."""
    return tuple(
        (False, value) if isinstance(value, int | float) else (True, str(value))
        for value in candidate.params.values()
    )


def _text(value: Any, length: int, *, mono: bool = False) -> str:
    """One line of at most `length` characters, all of which the font can draw."""
    drawable = _drawable("DejaVu Sans Mono" if mono else "DejaVu Sans")
    words = " ".join(str(value).split())
    return _cut("".join(c if ord(c) in drawable else "□" for c in words[: length + 1]), length)


def _cut(line: str, length: int) -> str:
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


@cache
def _drawable(family: str) -> frozenset[int]:
    """The code points that a font can draw."""
    font = font_manager.get_font(font_manager.findfont(family))
    return frozenset(font.get_charmap())
