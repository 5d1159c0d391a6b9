"""The nouns that steps hand each other, on one page: small frozen values, files by digest."""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from neural_classifiers.arrays.weights import weights_from_bytes
from neural_classifiers.engine.records import File, Reference
from neural_classifiers.engine.rows.parquet import read_groups

# Files of a run's folder that a later run, or the report, looks for.
DATA_DOCS, QUARANTINE_FILE = "data_docs.html", "quarantine.parquet"
PROFILE = "profile.json"  # in the run's folder; the next run is held against it

Text = Literal["clean", "txt"]  # what a model takes: cleaned texts, or texts as they came


def in_utf8(name: str | Path) -> str:
    r"""A file's name as text that can be written down: bytes that are no UTF-8 as ``\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Source(Reference):
    """Data as it came: files, and what the catalogue says of them.

    Attributes
    ----------
    name : str
        Name in the catalogue, or the file's name.
    kind : str
        ``comments``, ``digits`` or ``encoder``.
    format : str
        ``rows`` (comments: the content tells), ``idx``, ``csv``, ``npz``, ``images`` or ``bert``.
    files : dict of str to File
        By file name.
    file_categories : dict of str to str
        The category of all rows of a file, for formats where the file tells it.
    categories : list of str or None
        Known categories; None where the file must tell.
    text_columns : list of str or None
        Columns of the text in a catalogued source of comments, whose files tell the category.
    quoted : bool
        False: a quotation mark in its tables is a character like any other.
    languages : list of str
        That an encoder was pretrained on, as far as is known; `pretrained_on` says what texts.
    passed_over : list of str
        Files below the folder of digits that are none.
    licence, citation : str
    """

    name: str
    kind: str
    format: str
    files: dict[str, File]
    file_categories: dict[str, str] = Field(default_factory=dict)
    categories: list[str] | None = None
    text_columns: list[str] | None = None
    quoted: bool = True
    languages: list[str] = Field(default_factory=list)
    pretrained_on: str = ""
    passed_over: list[str] = Field(default_factory=list)
    licence: str = "not stated"
    citation: str = ""

    @property
    def origin(self) -> str:
        """The path of the file, folder or pattern, the same however many files it has today."""
        name, file = next(iter(self.files.items()))
        folder = Path(*file.path.parts[: len(file.path.parts) - len(Path(name).parts)])
        return in_utf8(folder if in_utf8(folder.name) == self.name else folder / self.name)

    def in_words(self) -> str:
        """Files and bytes."""
        size = sum(file.size for file in self.files.values())
        return f"{self.name}: {len(self.files)} files, {size / 1e6:.1f} MB, as expected"


def digest_of_files(files: dict[str, File]) -> str:
    """One digest for several files: of their names and digests, in order."""
    lines = "".join(f"{file.sha256}  {name}\n" for name, file in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


class Ingested(Reference):
    """Rows as they came: where from, their bytes, ``cat``, ``txt``, ``time`` and what came."""

    table: File
    rows: int
    rows_in_file: int
    blank_lines: int
    formats: list[str]

    def in_words(self) -> str:
        """Rows drawn, of how many."""
        return (
            f"{self.rows:,} of {self.rows_in_file:,} rows drawn ({', '.join(self.formats)}), "
            f"{self.blank_lines} blank lines"
        )


class Accepted(Reference):
    """Comments that passed: ``file``, ``line``, ``cat``, ``txt``, ``time``; and those that did not.

    `quarantine` has the bytes and the reasons of each row set aside; `findings` is the verdict of
    every expectation as JSON, `docs` the same as a page; `profile` is what the comments are like.
    """

    table: File
    quarantine: File
    findings: File
    docs: File
    profile: File
    drift: File | None
    rows: int
    rows_quarantined: int
    reasons: dict[str, int]
    notes: list[str] = Field(default_factory=list)

    def in_words(self) -> str:
        """Rows through the gate, rows set aside, and why; what is odd about their labels."""
        why = ", ".join(f"{reason} {n}" for reason, n in self.reasons.items())
        set_aside = f"{self.rows_quarantined} set aside" + (f" ({why})" if why else "")
        return "; ".join([f"{self.rows:,} comments accepted, {set_aside}", *self.notes])


class Cleaned(Reference):
    """Comments with their cleaned text, ``clean``, beside the original.

    `head` is a picture of the first rows.
    """

    words = "{0.rows:,} comments cleaned, {0.rows_empty} left empty"
    table: File
    head: File
    rows: int
    rows_empty: int


class Split(Reference):
    """Training and test set: the columns of the cleaned comments, in random order.

    `dropped_rows` names each row that is in neither: ``file``, ``line``, ``cat``, ``txt`` and
    ``reason``.
    `counts` holds for each category ``rows``, ``empty``, ``duplicates``, ``train``, ``test``.
    """

    train: File
    test: File
    dropped_rows: File
    rows: int
    rows_train: int
    rows_test: int
    conflicting: int
    counts: dict[str, dict[str, int]]

    @property
    def labels(self) -> list[str]:
        """Categories in alphabetical order."""
        return sorted(self.counts)

    def dropped(self, why: str) -> int:
        """Rows dropped as ``empty`` or as ``duplicates``."""
        return sum(count[why] for count in self.counts.values())

    def in_words(self) -> str:
        """Sizes of the two sets, and what was dropped."""
        return (
            f"{self.rows_train:,} training and {self.rows_test:,} test comments; dropped "
            f"{self.dropped('duplicates'):,} duplicates and {self.dropped('empty'):,} left empty"
        )


class Comments(NamedTuple):
    """Texts of shape (n_comments,) and their categories."""

    X: list[str]
    y: list[str]


def read_comments(file: File, text: Text = "clean") -> Comments:
    """One of the two sets, its texts cleaned or (``txt``) as they came.

    A row group is in memory beside what comes out.
    """
    comments = Comments([], [])
    for group in read_groups(file.path, [text, "cat"]):
        comments.X.extend(group[text].to_pylist())
        labels = group["cat"].dictionary_encode()  # a label once a group, not once a row
        names = labels.dictionary.to_pylist()
        comments.y.extend(names[code] for code in labels.indices.to_pylist())
    return comments


class NearDuplicates(Reference):
    """How many test comments have a training comment that is nearly the same.

    Of `checked` test comments `found` have one; `low` and `high` bound the share among all with
    95 % confidence, which is the share itself where all were checked. `pairs` holds examples.
    """

    words = (
        "{0.share:.1%} of {0.checked:,} test comments checked nearly repeat a training comment "
        "({0.low:.1%} to {0.high:.1%} of all)"
    )
    pairs: File
    checked: int
    found: int
    share: float
    low: float
    high: float
    threshold: float


class SearchSample(Reference):
    """Some of the training comments: columns and order are those of the training set."""

    words = "parameters are chosen on {0.rows_train:,} training comments"
    train: File
    rows_train: int


class PretrainedEncoder(Reference):
    """The files of an encoder that can be built, and what is known of it; `sha256` is of all."""

    words = "{0.name}: {0.parameters:,} parameters, vectors of {0.width} numbers"
    name: str
    sha256: str
    config: File
    weights: File
    tokenizer: File
    parameters: int
    width: int
    languages: tuple[str, ...]
    pretrained_on: str
    licence: str

    @property
    def files(self) -> tuple[File, File, File]:
        """Numbers, arrays and word pieces, as `Encoder.from_bytes` takes them."""
        return self.config, self.weights, self.tokenizer

    def about(self) -> dict[str, Any]:
        """What a reader should know of it, without its files."""
        return self.model_dump(mode="json", exclude={"config", "weights", "tokenizer"})


class Encoded(Reference):
    """Vectors of the texts of a split, each text of the same word pieces once.

    `vectors` is an ``.npy`` of float32, shape (rows, width); `text_keys` one of uint64, rising, for
    the texts (`comments.models.encoder.keys_of_tokens`). `load_encoder` looks them up.
    """

    words = "{0.rows:,} distinct texts encoded by {0.encoder.name}"
    encoder: PretrainedEncoder
    vectors: File
    text_keys: File
    rows: int


class Model(Reference):
    """A fitted model by name, with its recipe.

    Attributes
    ----------
    name : str
        ``constant``, ``linear``, ``scikit``, ``keras`` or one of these ``_improved``, as in
        ``metrics.json``.
    pipeline : File
        skops: the pipeline; for Keras the steps before the network.
    weights : File or None
        Of the Keras network.
    recipe : File
        JSON: parameters, seed, scores of the search, library versions, digest of the training
        file, and for Keras the network's numbers.
    grid : File
        Every candidate as a Parquet table with the columns of ``cv_results_``.
    best_params : dict
        Without prefixes.
    best_cv_score : float or None
        Mean over the folds of what `scoring` names.
    scoring : str
        scikit-learn's name of the score by which the model was chosen.
    temperature : float or None
        By which its probabilities are calibrated; None where they are as the library gives them.
    held_out : File
        Its answers on the rows searched on, of fits that held the row out: ``actual``,
        ``predicted`` and, if it is calibrated, ``p_<class>``.
    searched_rows : int
        Training comments that its parameters were chosen on; it was fitted on all.
    text : str
        ``clean`` or ``txt``: the column of the comments that it takes.
    encoder : PretrainedEncoder or None
        What comes before `pipeline`, if anything does.
    """

    name: str
    pipeline: File
    weights: File | None
    recipe: File
    grid: File
    best_params: dict[str, Any]
    best_cv_score: float | None
    scoring: str = "accuracy"
    temperature: float | None = None
    held_out: File
    searched_rows: int
    text: Text = "clean"
    encoder: PretrainedEncoder | None = None

    def in_words(self) -> str:
        """What was chosen, and how it did in cross-validation."""
        chosen = ", ".join(f"{name}={value}" for name, value in self.best_params.items())
        score = ""
        if self.best_cv_score is not None:
            score = f", {self.scoring} {self.best_cv_score:.4f} over the folds"
        return f"{self.name}: {chosen}{score}"


class Fits(Reference):
    """The fits of a search on one fold: what each candidate answered on the rows held out.

    `fits` is a table of ``candidate`` (digest of its estimator) and ``answer`` (an ``.npz``).
    """

    words = (
        "fold {0.fold}: {0.candidates} candidates, {0.distinct} of them distinct, "
        "{0.trainings} trainings"
    )
    fits: File
    fold: int
    candidates: int
    distinct: int
    trainings: int


class Scored(Reference):
    """How a model did on the test set.

    `scores` is what ``metrics.json`` says of it; `predictions` has ``actual``, ``predicted`` and
    a probability for each category, in the order of the test set.
    """

    words = "{0.name}: test accuracy {0.accuracy:.4f}, macro-F1 {0.f1_macro:.4f}"
    name: str
    scores: File
    predictions: File
    accuracy: float
    f1_macro: float


class Drawn(Reference):
    """Pictures of a model by name, and its pipeline as HTML where it has one."""

    figures: dict[str, File]
    diagram: File | None = None

    def in_words(self) -> str:
        """Which pictures."""
        return f"drawn: {', '.join(self.figures)}"


class Compared(Reference):
    """Each model against each rival: by how much, with an interval and a paired test.

    `comparisons` are those on the test comments, `held_out` the same and each model's scores on
    training comments held out.
    """

    words = "{0.pairs} pairs of models compared"
    comparisons: File
    held_out: File
    pairs: int


class Explained(Reference):
    """Slices of the test set, words that decide, mistakes and occluded comments.

    `explanations` is JSON with the keys ``slices``, ``words``, ``mistakes``, ``occluded``.
    """

    words = "{0.slices} slices, {0.mistakes} of the surest mistakes"
    explanations: File
    slices: int
    mistakes: int


class Examined(Reference):
    """What the linear model says of the training comments searched on: learning curve, doubts.

    `curve` is JSON, ``figure`` its picture; `suspected` has ``txt``, ``cat`` and the probability
    of the label and of the likelier class, by which the linear model (not fitted on the comment)
    contradicts the label, the surest first.
    """

    words = "{0.n_suspected:,} of {0.rows:,} training comments have a label in doubt"
    curve: File
    figure: File
    suspected: File
    n_suspected: int
    rows: int


class Digits(Reference):
    """Images as an ``.npz``: ``images_*`` and ``labels_*`` of train, validation and test.

    Images are uint8 of shape (n, 28, 28), pixels from 0 to 255. `examples` is a picture;
    `findings` is what was expected of the images and what came. `labels` names the ten digits,
    which are articles of clothing in Fashion-MNIST. `oddities` are
    sentences on what else is odd about the images.
    """

    arrays: File
    examples: File
    findings: File
    labels: list[str]
    rows_train: int
    rows_validation: int
    rows_test: int
    blank: int
    on_both_sides: int
    oddities: list[str]

    @property
    def rows(self) -> int:
        """Images in all."""
        return self.rows_train + self.rows_validation + self.rows_test

    def in_words(self) -> str:
        """Sizes of the three sets, and what is odd about the images."""
        sizes = (
            f"{self.rows_train:,} training, {self.rows_validation:,} validation and "
            f"{self.rows_test:,} test images; {self.blank:,} blank, {self.on_both_sides:,} test "
            "images that also are training images"
        )
        return " ".join([sizes, *(f"({sentence})" for sentence in self.oddities)])


def read_digits(digits: Digits) -> dict[str, np.ndarray]:
    """The arrays by name."""
    return weights_from_bytes(digits.arrays.path.read_bytes(), digits.arrays.path.name)


class TrainedDigits(Reference):
    """A trained network and its scores.

    `weights` is an ``.npz``; the network is rebuilt from our code with the numbers in `scores`.
    `val_accuracy` and `val_loss` are what a choice between seeds may look at. One that `guesses` is
    not shown to be right more often than the commonest digit always is.
    """

    name: str
    seed: int
    weights: File
    scores: File
    predictions: File
    val_accuracy: float
    val_loss: float
    test_accuracy: float
    guesses: bool

    def in_words(self) -> str:
        """How often it is right, and whether that shows anything."""
        words = f"{self.name}, seed {self.seed}: test accuracy {self.test_accuracy:.2%}"
        return f"{words}, not shown to be better than guessing" if self.guesses else words


class Serving(Reference):
    """The version of comments that serves: its name, and its manifest, which names its files."""

    version: str
    manifest: File


class New(Reference):
    """Files to predict, by whom ("" where nobody has to), and where to."""

    files: list[File]
    version: str
    out: Path
