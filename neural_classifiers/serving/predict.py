"""Predict with a promoted model: texts, files of comments, images of digits.

A file is read in batches, each row goes to one of two files that get their names together at the
end: its prediction, or why there is none. The rules about rows are those of training
(`comments.rules`), and so is the way to features (`Classifier.clean` and its pipeline).

Knows no Prefect: predicting must not wait for it.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from neural_classifiers.comments.drift import Profiler
from neural_classifiers.comments.formats import Layout
from neural_classifiers.comments.packing import Part
from neural_classifiers.comments.rows import count_rows, open_readers, read_parsed_rows, storable
from neural_classifiers.comments.rules import EMPTIED, faults, row_rules
from neural_classifiers.comments.tables import Quoting
from neural_classifiers.comments.text import english_stop_words
from neural_classifiers.digits.files import read_images
from neural_classifiers.engine import workers
from neural_classifiers.engine.files import whole_file
from neural_classifiers.engine.rows.batches import BATCH_ROWS, useful_workers
from neural_classifiers.serving.model import Classifier, PromotedModel, read_model
from neural_classifiers.serving.prediction_files import (
    PredictionError,
    json_line,
    prediction_rows,
    prediction_writer,
    refuse_sources,
)
from neural_classifiers.serving.trained_on import compare_looks, drift_of

_LINES = {"line": pa.int64(), "txt": pa.string()}
_IMAGES = {"file": pa.string(), "image": pa.int64(), "warning": pa.string()}
_COLUMNS = ["line", "byte_offset", "raw", "line_type", "txt", "txt_type"]
_RULES = row_rules()
GUESS = "more likely wrong than right"  # a digit, by the network's own probabilities
UNKNOWN = "the model knows none of its words"


@dataclass(frozen=True)
class PredictedFile:
    """A file of comments and its predictions.

    Attributes
    ----------
    file, out : str
    version : str
    rejected_file : str or None
        Where the rows are that have no prediction; None if there are none.
    rows, predicted, rejected : int
    reasons : dict of str to int
        Why rows were rejected.
    labels : dict of str to int
        Rows by what was predicted of them.
    drift : list of dict
        How far the file lies from the training data, as `compare_profiles` measures it:
        ``title``, ``distance``, ``limit``, ``drifted``, ``before``, ``now``.
    """

    file: str
    out: str
    version: str
    rejected_file: str | None = None
    rows: int = 0
    predicted: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    drift: list[dict[str, Any]] = field(default_factory=list)

    def in_words(self) -> list[str]:
        """Lines on the predictions, on the rows rejected, and on each drift."""
        labels = ", ".join(f"{label} {n:,}" for label, n in self.labels.items()) or "none"
        lines = [
            f"{self.out}  {self.predicted:,} of {self.rows:,} rows by {self.version}: {labels}"
        ]
        if self.rejected:
            why = ", ".join(f"{reason} {n:,}" for reason, n in self.reasons.items())
            lines.append(f"{self.rejected_file}  {self.rejected:,} rows rejected: {why}")
        lines += [
            f"unlike the training data in {each['title']}: {each['distance']:.3f}, at most "
            f"{each['limit']:.3f} expected ({each['now']}; in training {each['before']})"
            for each in self.drift
            if each["drifted"]
        ]
        return lines

    @property
    def drifted(self) -> list[str]:
        """In what the file is unlike the training data."""
        return [each["title"] for each in self.drift if each["drifted"]]


def predict_texts(classifier: Classifier, texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each text ``label`` and ``probabilities``, or ``rejected`` with the reasons.

    A text of which the model knows no word has an answer with a ``warning``: it is that of no text.
    """
    came = list(map(storable, texts))
    columns: dict[str, list[Any]] = {
        "txt": [text for text, _ in came],
        "txt_type": [kind for _, kind in came],
    }
    predictions, reasons = _predict_rows(classifier, columns)
    cleaned = classifier.clean([columns["txt"][row] for row in predictions])
    for prediction, known in zip(predictions.values(), classifier.knows(cleaned), strict=True):
        if not known:
            prediction["warning"] = UNKNOWN
    return [
        predictions.get(row) or {"rejected": reasons[row], "version": classifier.version}
        for row in range(len(texts))
    ]


def predict_file(
    source: Path,
    out: Path,
    classifier: Classifier,
    text_column: str | None = None,
    n_workers: int | None = None,
    batch_rows: int = BATCH_ROWS,
    delimiter: str | None = None,
    quoting: Quoting = "auto",
    escape: str | None = None,
) -> PredictedFile:
    """Write a prediction for each row of a file of comments, and the rows that have none apart.

    Parameters
    ----------
    source : Path
        JSON Lines, CSV, TSV or Parquet, plain or packed; its content tells.
    out : Path
        Its ending tells what is written: ``.jsonl``, ``.csv`` or ``.parquet``. Rejected rows lie
        beside it in ``<name>.rejected.jsonl``. Neither is there until both are whole.
    classifier : Classifier
    text_column : str, optional
        Column (field) of the text; by default as in the model's training data.
    n_workers : int, optional
        Processes that predict; 0: none but this one. By default as many as are worth starting. The
        same rows come out, in the same order.
    batch_rows : int
        Rows in memory at once, times the workers.
    delimiter, quoting, escape
        Of tables, as in `comments.formats.Layout`.

    Raises
    ------
    PredictionError, CommentFileError, OSError
        If the file cannot be read as comments, or nothing can be written; no file is left behind.
    """
    rejected_out = out.with_name(f"{out.name}.rejected.jsonl")
    refuse_sources([out, rejected_out], [source])
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    n_rejected = 0
    with contextlib.ExitStack() as stack:  # the file of predictions gets its name last
        write = stack.enter_context(prediction_writer(out, classifier, _LINES))
        rejected_path = stack.enter_context(whole_file(rejected_out, if_empty=False))
        rejected_file = stack.enter_context(rejected_path.open("w", encoding="utf-8"))
        text_column = text_column or classifier.text_column
        layout = Layout((text_column,), None, None, delimiter, quoting, escape)
        readers = open_readers([Part(source.name, lambda: source.open("rb"))], layout)
        n_rows = count_rows(readers).rows
        profiler = Profiler(english_stop_words(), n_rows)
        batches = read_parsed_rows(readers, layout, batch_rows=batch_rows)
        n_workers = useful_workers(n_rows) if n_workers is None else n_workers
        work = partial(_predict_batch, classifier)
        if n_workers:  # they load the version themselves
            folder = classifier.folder.absolute()
            work = partial(predict_in_worker, folder, classifier.version)
        calls = ((batch.select(_COLUMNS),) for batch in batches)
        for batch in workers.in_order(work, calls, n_workers):
            write(batch.predicted)
            rejected_file.writelines(map(json_line, batch.rejected))
            named = [row["label"] for row in batch.predicted]
            profiler.add([row["txt"] for row in batch.predicted], named)
            labels.update(named)
            n_rejected += len(batch.rejected)
            reasons.update(reason for row in batch.rejected for reason in row["reasons"])
    return PredictedFile(
        file=str(source),
        out=str(out),
        version=classifier.version,
        rejected_file=str(rejected_out) if n_rejected else None,
        rows=labels.total() + n_rejected,
        predicted=labels.total(),
        rejected=n_rejected,
        reasons=dict(sorted(reasons.items())),
        labels=dict(sorted(labels.items())),
        drift=drift_of(classifier, profiler.profile()) if labels else [],
    )


def predict_images(
    files: Sequence[Path], reader: PromotedModel, out: Path | None = None
) -> list[dict[str, Any]]:
    """For each image of image and IDX files ``file``, ``image`` (from 0), ``label``, probabilities.

    Images on white are turned round where the model was trained on black; ``warning`` says so, or
    in what an image is unlike the training images. The rows are also written to `out`, as JSON
    Lines, CSV or Parquet, whole or not at all.

    Raises
    ------
    PredictionError
        If a file is neither, or its images are not of 28 x 28 grey bytes, or the ending of `out` is
        none of these, or it is one of the files.
    """
    refuse_sources([out] if out else [], files)
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            images = read_images(path.read_bytes(), str(path))
        except ValueError as error:
            raise PredictionError(str(error)) from None
        for start in range(0, len(images), BATCH_ROWS):
            answers = answer_images(reader, images[start : start + BATCH_ROWS])
            for image, row in enumerate(answers, start):
                rows.append({"file": path.name, "image": image} | row)
    if out:
        with prediction_writer(out, reader, _IMAGES) as write:
            write(rows)
    return rows


def answer_images(reader: PromotedModel, images: np.ndarray) -> list[dict[str, Any]]:
    """For each image ``label``, ``probabilities``, ``version``, and a ``warning`` or None."""
    turned, oddities = compare_looks(reader, images)
    probabilities = reader.predict_proba(turned)
    guesses = [GUESS if row.max() < 0.5 else None for row in probabilities]
    warnings = [
        "; ".join(filter(None, both)) or None for both in zip(oddities, guesses, strict=True)
    ]
    answers = prediction_rows(reader, probabilities)
    return [{"warning": w} | row for w, row in zip(warnings, answers, strict=True)]


def predict_file_by(folder: Path, version: str, *arguments: Any) -> PredictedFile:
    """As `predict_file` with the version in a folder; in a worker process, which can be ended."""
    source, out, text_column, table = arguments
    return predict_file(source, out, loaded(folder, version), text_column, **table)


class _PredictedBatch(NamedTuple):
    """The rows of a batch that have an answer, and the others."""

    predicted: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


def predict_in_worker(folder: Path, version: str, batch: pa.RecordBatch) -> _PredictedBatch:
    """Predict a batch by the version in a folder, which this process loads once."""
    return _predict_batch(loaded(folder, version), batch)


@lru_cache(maxsize=1)
def loaded(folder: Path, version: str) -> Classifier:
    """The version of comments in a folder, loaded once in this process."""
    return read_model(folder, version)  # type: ignore[return-value]


def _predict_batch(classifier: Classifier, batch: pa.RecordBatch) -> _PredictedBatch:
    columns = {name: batch.column(name).to_pylist() for name in _COLUMNS}
    predictions, reasons = _predict_rows(classifier, columns)
    return _PredictedBatch(
        predicted=[
            {"line": columns["line"][row], "txt": columns["txt"][row], **prediction}
            for row, prediction in predictions.items()
        ],
        rejected=[
            {
                "line": columns["line"][row],
                "byte_offset": columns["byte_offset"][row],
                "reasons": reasons[row],
                "raw": columns["raw"][row].decode("utf-8", "backslashreplace"),
            }
            for row in sorted(reasons)
        ],
    )


def _predict_rows(
    classifier: Classifier, columns: Mapping[str, list[Any]]
) -> tuple[dict[int, dict[str, Any]], dict[int, list[str]]]:
    """Predictions of the rows that have one, and the reasons of the others, by position."""
    reasons = faults((rule, columns[rule.column]) for rule in _RULES if rule.column in columns)
    texts = ["" if row in reasons else text for row, text in enumerate(columns["txt"])]
    cleaned = {row: text for row, text in enumerate(classifier.clean(texts)) if text}
    for row in range(len(texts)):
        if row not in cleaned:
            reasons.setdefault(row, [EMPTIED])
    raw = [texts[row] for row in cleaned]
    probabilities = classifier.predict_cleaned(list(cleaned.values()), raw)
    return dict(zip(cleaned, prediction_rows(classifier, probabilities), strict=True)), reasons
