"""Sections of a report, one for each half of the notebook: what ``report.json`` holds.

The step that reports builds them, every template reads them. Texts and labels come out of data,
file names and error messages: what cannot be printed, or would turn the direction of the text
around it, becomes a replacement mark here, before anything is shown.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, model_validator

from neural_classifiers.judgement.choice import HeldOutScores, Price
from neural_classifiers.judgement.names import CONSTANT, LINEAR, SERVING, SIMPLE
from neural_classifiers.judgement.scores import (
    Calibration,
    JudgedModel,
    ModelComparison,
    model_title,
    wilson_interval,
)
from neural_classifiers.judgement.verdict import Judgement, digits_sentence
from neural_classifiers.judgement.weaknesses import CurvePoint, Explanations, Mistake
from neural_classifiers.search.candidates import RankedCandidate
from neural_classifiers.values import Values

Rows = list[dict[str, Any]]  # of a table, for the templates to show

# Control characters but white space, lone surrogates, marks that turn the text's direction.
UNPRINTABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(value: Any) -> Any:
    """The same plain value with every text in it, keys too, made printable."""
    if isinstance(value, str):
        return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {printable(key): printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable(each) for each in value]
    return value


class Printable(Values):
    """Values whose texts are made printable as they come in."""

    @model_validator(mode="before")
    @classmethod
    def _make_printable(cls, values: Any) -> Any:
        return printable(values)


class SourceOfRows(Values):
    """Where rows came from: `digest` is one for all files, `rows` counts what they hold.

    `origin` is the path.
    """

    name: str
    origin: str
    kind: str
    digest: str
    rows: int
    licence: str
    citation: str


# --- comments -----------------------------------------------------------------------------


class CommentRows(Values):
    """Numbers of rows on their way from the file to training and test set.

    `digest` is of the rows drawn, `reasons` counts the quarantined ones, `empty` those that
    cleaning left empty, `conflicting` the texts with several labels, `searched` the training
    comments that parameters were chosen on.
    """

    in_file: int
    drawn: int
    digest: str
    formats: list[str]
    blank_lines: int
    accepted: int
    quarantined: int
    reasons: dict[str, int]
    empty: int
    duplicates: int
    conflicting: int
    train: int
    searched: int
    test: int


class TrainingExamined(Values):
    """The learning curve of the linear model, and labels in doubt among `rows` comments."""

    curve: list[CurvePoint]
    n_suspected: int
    rows: int
    suspected: Rows


class GridSummary(Values):
    """The best candidates of a grid; `csv` is the file, in the run's folder, that has all.

    `errors` counts the candidates without a score by the first one's parameters and its error.
    """

    csv: str
    candidates: int
    distinct: int
    parameters: list[str]
    top: list[RankedCandidate]
    errors: dict[str, int]


class CommentsSection(Printable):
    """What a run says of the comments.

    `account` is the sum that accounts for every row; `figures` and `diagrams` are paths in the
    run's folder by name, `files` the ``path`` and ``sha256`` of those in the cache; `failed` names
    steps. What a failed step would have said is None.

    `drift` holds measures and moved words of the comments against those of the last run, and names
    limits passed and let through; `notes` are sentences on odd labels; `near_duplicates` has the
    share of the test comments ``checked`` that nearly repeat a training comment, its bounds, and
    ``pairs``. `prices` are of those models whose cost was measured.
    """

    source: SourceOfRows
    rows: CommentRows
    account: dict[str, int]
    counts: dict[str, dict[str, int]]
    drift: dict[str, Any]
    notes: tuple[str, ...] = ()
    near_duplicates: dict[str, Any] | None
    explained: Explanations | None
    examined: TrainingExamined | None
    models: dict[str, JudgedModel]
    comparisons: list[ModelComparison]
    held_out: HeldOutScores | None
    prices: dict[str, Price]
    grids: dict[str, GridSummary]
    data_docs: str
    figures: dict[str, str]
    diagrams: dict[str, str]
    files: dict[str, dict[str, str]]
    failed: list[str]

    @cached_property
    def judgement(self) -> Judgement:
        """The choice of a model, and what the test comments say of it."""
        return Judgement(self.models, self.comparisons, self.held_out, self.prices)

    @cached_property
    def recommended(self) -> str | None:
        """Name of the model to use; "constant" if none is better, None if the test refuses one."""
        return self.judgement.recommended

    @cached_property
    def titles(self) -> dict[str, str]:
        """What each model is called; of the constant answer with the answer."""
        return {name: model_title(name, self.models) for name in self.models}

    @property
    def shown_comparisons(self) -> list[ModelComparison]:
        """Comparisons with the simple models, the serving one, or the one that is recommended."""
        named = (*SIMPLE, SERVING)
        return [
            c for c in self.comparisons
            if c.rival in named or self.recommended in (c.model, c.rival)
        ]  # fmt: skip

    @property
    def mistakes(self) -> list[Mistake]:
        """The surest mistakes of the model that is recommended, or of the linear one."""
        by_model = self.explained.mistakes if self.explained else {}
        return by_model.get(str(self.recommended)) or by_model.get(LINEAR) or []

    @property
    def searched_in_words(self) -> str:
        """What parameters were chosen on, where that was a sample; "" where it was all."""
        searched, train = self.rows.searched, self.rows.train
        if searched == train:
            return ""
        return (
            f"Parameters were chosen on {searched:,} of the {train:,} training comments; the "
            "models were fitted on all, and so were temperatures and shifts of answers."
        )

    @property
    def account_in_words(self) -> str:
        """The sum that accounts for every row."""
        total, *parts = self.account.items()
        return f"{total[1]:,} rows in = {' + '.join(f'{n:,} {name}' for name, n in parts)}"

    @property
    def funnel(self) -> list[tuple[str, int]]:
        """Numbers of rows from the file to training and test set, with their names."""
        rows = self.rows
        return [
            ("Rows in the file", rows.in_file),
            ("Drawn for this run", rows.drawn),
            *((f"Quarantined: {reason}", n) for reason, n in rows.reasons.items()),
            ("Quarantined: left empty by cleaning", rows.empty),
            ("Duplicates dropped", rows.duplicates),
            ("Texts with several labels, kept on one side", rows.conflicting),
            ("Training comments", rows.train),
            ("Test comments", rows.test),
        ]

    def mark(self, name: str) -> str:
        """The tag of the model that was chosen; "" of every other."""
        if name != self.judgement.chosen:
            return ""
        if name == CONSTANT:
            return "not beaten"
        return "recommended" if name == self.recommended else "refused"


# --- digits -------------------------------------------------------------------------------


class DigitRows(Values):
    """Numbers of images; `blank` and `on_both_sides` (test images too) were let through.

    `oddities` are sentences on what else is odd about them.
    """

    train: int
    validation: int
    test: int
    blank: int
    on_both_sides: int
    oddities: list[str]


class JudgedNetwork(Values):
    """A network's scores on the test digits, epoch by epoch, digit by digit, seed by seed.

    `per_digit` and `robustness` are as `digits.scores` gives them, `seeds` is the spread of the
    test accuracy, the accuracy of each seed, and the seed that was chosen. Preset, layers and
    confusion matrix are in ``metrics.json`` only.
    """

    model_config = ConfigDict(extra="ignore")

    parameters: int
    test_accuracy: float
    test_loss: float
    guesses: bool
    epochs: list[dict[str, float]]
    labels: list[str]
    per_digit: Rows
    calibration: Calibration
    robustness: Rows
    mistakes: Rows
    seeds: dict[str, Any]


class DigitsSection(Printable):
    """What a run says of the digits; `figures` and `failed` as in `CommentsSection`."""

    source: SourceOfRows
    rows: DigitRows
    models: dict[str, JudgedNetwork]
    figures: dict[str, str]
    files: dict[str, dict[str, str]]
    failed: list[str]

    @property
    def labels(self) -> list[str]:
        """What the ten labels are called; empty where no network was judged."""
        return next((model.labels for model in self.models.values()), [])

    @property
    def has_seeds(self) -> bool:
        """Whether a network was trained from several seeds."""
        return any(model.seeds["n"] > 1 for model in self.models.values())

    @property
    def oddities(self) -> str:
        """Sentences on what is odd about the images; "" where nothing is."""
        odd = {
            "blank": self.rows.blank,
            "test images that also are training images": self.rows.on_both_sides,
        }
        listed = " and ".join(f"{n:,} {what}" for what, n in odd.items() if n)
        return " ".join([*([f"Among them are {listed}."] if listed else []), *self.rows.oddities])

    def each(self, scores: str) -> list[tuple[Any, ...]]:
        """Rows of all networks side by side, of ``per_digit`` or of ``robustness``."""
        columns = [getattr(model, scores) for model in self.models.values()]
        return list(zip(*columns, strict=True))

    def interval(self, name: str) -> tuple[float, float]:
        """The 95 % Wilson interval of a network's test accuracy."""
        n = self.rows.test
        return wilson_interval(round(self.models[name].test_accuracy * n), n)


# --- both ---------------------------------------------------------------------------------


class Sections(Printable):
    """``report.json``: the halves of the notebook that a run came to."""

    comments: CommentsSection | None = None
    digits: DigitsSection | None = None

    @property
    def halves(self) -> dict[str, CommentsSection | DigitsSection]:
        """The sections that there are, by name."""
        both = {"comments": self.comments, "digits": self.digits}
        return {name: section for name, section in both.items() if section}

    @property
    def title(self) -> str:
        """Title of the page."""
        return " of ".join(filter(None, ["Classifiers", " and ".join(self.halves)]))

    @property
    def verdict(self) -> list[str]:
        """What the run found, in sentences."""
        comments, digits = self.comments, self.digits
        sentences = comments.judgement.sentences() if comments else []
        if digits and digits.models:
            shares = {name: model.test_accuracy for name, model in digits.models.items()}
            sentences.append(digits_sentence(shares, digits.rows.test))
            sentences += [
                f"The {name} network is not shown to be better than guessing the commonest digit."
                for name, model in digits.models.items()
                if model.guesses
            ]
        return sentences or ["Nothing could be judged in this run."]


class SinceLast(Printable):
    """What differs from the last completed run: `changes` in words, scores (name, then, now).

    `before` is the name of that run, None where there is none: then the scores have no "then".
    """

    before: str | None = None
    changes: tuple[str, ...] = ()
    scores: tuple[tuple[str, float | None, float | None], ...] = ()

    @property
    def moved(self) -> list[tuple[str, float | None, float | None]]:
        """Scores that are not what they were."""
        return [(name, then, now) for name, then, now in self.scores if then != now]
