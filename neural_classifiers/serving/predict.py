"""Predict with a promoted model: texts, files of comments, images of digits.

A file is read in batches, each row goes to one of two files that are written beside and renamed
together at the end: its prediction, or why there is none. The rules about rows are those of
training (`comments.rules`), and so is the way to features (`Classifier.clean` and its
pipeline).

Knows no Prefect: predicting must not wait for it.
"""

import contextlib
import csv
import glob
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import psutil

from neural_classifiers import load
from neural_classifiers.comments.rules import EMPTIED, faults, row_rules
from neural_classifiers.engine import paths
from neural_classifiers.engine.files import make_folder, write_durably
from neural_classifiers.engine.rows.batches import useful_workers
from neural_classifiers.errors import RefusedError
from neural_classifiers.serving.model import (
    PROFILE,
    Classifier,
    DigitReader,
    NotPromotedError,
    read_file,
)

BATCH_ROWS = 8192
FORMATS = (".jsonl", ".csv", ".parquet")


class PredictionError(RefusedError):
    """What cannot be predicted: says what was expected and what came."""


@dataclass
class Account:
    """What became of a file.

    Attributes
    ----------
    file, out : str
    rejected_file : str or None
        Where the rows are that have no prediction; None if there are none.
    version : str
    rows, predicted, rejected : int
    reasons : dict of str to int
        Why rows were rejected.
    labels : dict of str to int
        Rows by what was predicted of them.
    drift : list of dict
        How far the file lies from the training data, as `compare_profiles` measures it:
        ``title``, ``distance``, ``limit``, ``drifted``, ``before``, ``now``. Empty for digits.
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
        """Lines that tell what became of the file."""
        labels = ", ".join(f"{label} {n:,}" for label, n in self.labels.items()) or "none"
        lines = [
            f"{self.out}  {self.predicted:,} of {self.rows:,} rows by {self.version}: {labels}"
        ]
        if self.rejected:
            why = ", ".join(f"{reason} {n:,}" for reason, n in self.reasons.items())
            lines.append(f"{self.rejected_file}  {self.rejected:,} rows rejected: {why}")
        lines += [
            f"unlike the training data in {t['title']}: {t['distance']:.3f}, at most "
            f"{t['limit']:.3f} expected ({t['now']}; in training {t['before']})"
            for t in self.drift
            if t["drifted"]
        ]
        return lines

    @property
    def drifted(self) -> list[str]:
        """In what the file is unlike the training data."""
        return [told["title"] for told in self.drift if told["drifted"]]


def load_serving(kind: str, version: str | None = None) -> Any:
    """The promoted model of a kind: the version that serves now, or the one named.

    Raises
    ------
    NotPromotedError
        If there is none, it is damaged, or of the other kind.
    """
    loaded = load(version or kind)
    if (got := loaded.manifest["kind"]) != kind:
        raise NotPromotedError(f"{loaded.version}: expected a model of {kind}, got one of {got}")
    return loaded


def predict_texts(classifier: Classifier, texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each text ``label`` and ``probabilities``, or ``rejected`` with the reasons."""
    columns: dict[str, list[str | None]] = {"txt": [], "txt_type": []}
    for text in texts:
        storable = _is_storable(text)
        columns["txt"].append(text if storable else None)
        columns["txt_type"].append("string" if storable else "lone surrogate")
    reasons = _faults(columns)
    cleaned = ["" if row in reasons else text for row, text in enumerate(texts)]
    cleaned = classifier.clean(cleaned)
    answered = [row for row, text in enumerate(cleaned) if text]
    proba = iter(classifier.predict_cleaned([cleaned[row] for row in answered]))
    told: list[dict[str, Any]] = []
    for row, text in enumerate(cleaned):
        if text:
            told.append(_answer(classifier, next(proba)))
        else:
            told.append({"rejected": reasons.get(row, [EMPTIED]), "version": classifier.version})
    return told


def predict_file(
    source: Path,
    out: Path,
    classifier: Classifier,
    text_column: str = "txt",
    n_workers: int | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Account:
    """Write a prediction for each row of a file of comments, and the rows that have none apart.

    Parameters
    ----------
    source : Path
        JSON Lines, CSV, TSV or Parquet, plain or packed; its content tells.
    out : Path
        Its ending tells what is written: ``.jsonl``, ``.csv`` or ``.parquet``. Rejected rows lie
        beside it in ``<name>.rejected.jsonl``. Neither is there until both are whole.
    classifier : Classifier
    text_column : str
        Column (field) of the text.
    n_workers : int, optional
        Processes that predict; 0: none but this one. By default as many as are worth starting. The
        same rows come out, in the same order.
    batch_rows : int
        Rows in memory at once, times the workers.

    Raises
    ------
    PredictionError, CommentFileError, OSError
        If the file cannot be read as comments, or nothing can be written; no file is left behind.
    """
    from neural_classifiers.comments.drift import Profiler
    from neural_classifiers.comments.rows import Layout, Part, count_rows, read_comments
    from neural_classifiers.comments.text import english_stop_words

    if out.suffix not in FORMATS:
        raise PredictionError(f"{out}: expected a file that ends in one of {', '.join(FORMATS)}")
    if out.exists() and out.samefile(source):
        raise PredictionError(f"{out}: expected another file than the one that is read")
    parts = [Part(source.name, lambda: source.open("rb"))]
    layout = Layout((text_column,), None)
    n_rows = count_rows(parts, layout).total
    if n_workers is None:
        n_workers = useful_workers(n_rows)
    profiler = Profiler(english_stop_words(), n_rows)
    account = Account(str(source), str(out), classifier.version)
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with _Outputs(out, classifier) as outputs:
        batches = (b.select(_TAKEN) for b in read_comments(parts, layout, batch_rows=batch_rows))
        for done in _predicted(classifier, batches, n_workers):
            named = classifier.answers(done.proba).astype(str).tolist()
            outputs.write(done, named)
            profiler.add(done.texts, named)
            labels.update(named)
            account.rows += len(done.lines) + len(done.rejected)
            account.rejected += len(done.rejected)
            reasons.update(reason for row in done.rejected for reason in row["reasons"])
        account.rejected_file = outputs.keep()
    account.predicted = account.rows - account.rejected
    account.labels, account.reasons = dict(sorted(labels.items())), dict(sorted(reasons.items()))
    if account.predicted:
        account.drift = _drift(classifier, profiler.profile())
    return account


def predict_images(files: Sequence[Path], reader: DigitReader) -> Iterator[dict[str, Any]]:
    """For each image of PNG and IDX files ``file``, ``image`` (from 0), ``label``, probabilities.

    Raises
    ------
    PredictionError
        If a file is neither, or its images are not of 28 x 28 grey bytes.
    """
    for path in files:
        images = read_images(path)
        for start in range(0, len(images), BATCH_ROWS):
            for i, row in enumerate(reader.predict_proba(images[start : start + BATCH_ROWS])):
                yield {"file": path.name, "image": start + i} | _answer(reader, row)


def read_images(path: Path) -> np.ndarray:
    """Images of one file, uint8 of shape (n_images, 28, 28).

    Raises
    ------
    PredictionError
    """
    from neural_classifiers.digits.files import read_png
    from neural_classifiers.digits.idx import IMAGE_SHAPE, read_idx

    content = path.read_bytes()
    try:
        if content.startswith(_PNG):
            return read_png(content, str(path))[None]
        images = read_idx(content, str(path))
    except ValueError as error:
        raise PredictionError(str(error)) from None
    if images.shape[1:] != IMAGE_SHAPE or images.dtype != np.uint8:
        raise PredictionError(
            f"{path}: expected images of 28 x 28 bytes, got {images.dtype} of {images.shape}"
        )
    return images


def are_images(path: Path) -> bool:
    """Whether a file begins as PNG or IDX (packed by gzip or not) does."""
    import gzip

    with path.open("rb") as file:
        head = file.read(8)
        if head.startswith(b"\x1f\x8b"):
            file.seek(0)
            with contextlib.suppress(OSError, EOFError), gzip.open(file) as unpacked:
                head = unpacked.read(8)
    return head == _PNG or (head[:3] == b"\0\0\x08" and len(head) > 3)


_MARK = ".writing-"
_PNG = b"\x89PNG\r\n\x1a\n"
_TAKEN = ["line", "byte_offset", "raw", "line_type", "txt", "txt_type"]
_RULES = row_rules()


@dataclass
class _Done:
    """A batch, predicted: the rows that have an answer column by column, the others row by row."""

    lines: list[int]
    texts: list[str]
    proba: np.ndarray
    rejected: list[dict[str, Any]]


def _predicted(classifier: Classifier, batches: Iterator[Any], n_workers: int) -> Iterator[_Done]:
    """Each batch with its predictions, in order; at most two batches a worker in memory."""
    if n_workers < 1:
        yield from (_predict_batch(classifier, batch) for batch in batches)
        return
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    from neural_classifiers.engine import workers

    waiting: deque[Future[workers.Answer]] = deque()
    root, version = paths.root(), classifier.version
    with ThreadPoolExecutor(n_workers) as threads:  # each waits for a worker process
        for batch in batches:
            waiting.append(threads.submit(workers.run, predict_in_worker, root, version, batch))
            if len(waiting) == 2 * n_workers:
                yield waiting.popleft().result().value
        for answer in waiting:
            yield answer.result().value


def predict_in_worker(root: Path, version: str, batch: Any) -> _Done:
    """A batch by a version that this process loads once."""
    paths.use(root)
    return _predict_batch(loaded(root, version), batch)


@lru_cache(maxsize=1)
def loaded(root: Path, version: str) -> Classifier:
    """A version of comments below a root, loaded once in this process."""
    return load(root / "artifacts" / "models" / version)  # type: ignore[return-value]


def _predict_batch(classifier: Classifier, batch: Any) -> _Done:
    columns = {name: batch.column(name).to_pylist() for name in _TAKEN}
    reasons = _faults(columns)
    texts = columns["txt"]
    cleaned = classifier.clean(["" if row in reasons else text for row, text in enumerate(texts)])
    answered = [row for row, text in enumerate(cleaned) if text]
    return _Done(
        lines=[columns["line"][row] for row in answered],
        texts=[texts[row] for row in answered],
        proba=classifier.predict_cleaned([cleaned[row] for row in answered]),
        rejected=[
            {
                "line": columns["line"][row],
                "byte_offset": columns["byte_offset"][row],
                "reasons": reasons.get(row, [EMPTIED]),
                "raw": columns["raw"][row].decode("utf-8", "backslashreplace"),
            }
            for row, text in enumerate(cleaned)
            if not text
        ],
    )


def _faults(columns: dict[str, Any]) -> dict[int, list[str]]:
    return faults((rule, columns[rule.column]) for rule in _RULES if rule.column in columns)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _answer(model: Classifier | DigitReader, row: np.ndarray) -> dict[str, Any]:
    return {
        "label": str(model.answers(row[None])[0]),
        "probabilities": dict(zip(model.classes_.astype(str).tolist(), row.tolist(), strict=True)),
        "version": model.version,
    }


def _drift(classifier: Classifier, now: Any) -> list[dict[str, Any]]:
    """How far a file lies from the training data."""
    from dataclasses import asdict

    from neural_classifiers.comments.drift import Profile, compare_profiles
    from neural_classifiers.comments.expectations import Limits

    folder = paths.models() / classifier.version
    content = read_file(lambda name: (folder / name).read_bytes(), classifier.manifest, PROFILE)
    limits = asdict(Limits())
    told = []
    for measure in compare_profiles(Profile.of_dict(json.loads(content)), now):
        limit = limits[measure.name] + measure.noise
        drifted = measure.distance > limit
        told.append(asdict(measure) | {"limit": limit, "drifted": drifted})
    return told


class _Writer(Protocol):
    def write(self, columns: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class _Outputs:
    """Predictions and rejected rows in the making: two files beside, renamed together, or gone."""

    def __init__(self, out: Path, classifier: Classifier) -> None:
        self._out, self._classifier = out, classifier
        self._rejected_out = out.with_name(f"{out.name}.rejected.jsonl")
        make_folder(out.parent.absolute())
        for left in out.parent.glob(f".{glob.escape(out.name)}*{_MARK}*"):  # by a kill
            if not psutil.pid_exists(int(left.name.rpartition(_MARK)[2])):
                left.unlink(missing_ok=True)
        mark = f"{_MARK}{os.getpid()}"
        self._beside = out.with_name(f".{out.name}{mark}")
        self._rejected_beside = out.with_name(f".{out.name}.rejected{mark}")

    def __enter__(self) -> Self:
        writers: dict[str, Callable[[Path, Classifier], _Writer]]
        writers = {".jsonl": _JsonLines, ".csv": _Csv, ".parquet": _Parquet}
        self._rejected = self._rejected_beside.open("wb")
        self._writer: _Writer = writers[self._out.suffix](self._beside, self._classifier)
        return self

    def write(self, done: _Done, labels: list[str]) -> None:
        self._writer.write(
            {"line": done.lines, "txt": done.texts, "label": labels, "proba": done.proba}
        )
        for row in done.rejected:
            self._rejected.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def keep(self) -> str | None:
        """Give both files their names; that of the rejected rows, if there are any."""
        self._writer.close()
        has_rejected = self._rejected.tell() > 0
        self._rejected.close()
        for path in (self._beside, self._rejected_beside):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if has_rejected:
            self._rejected_beside.replace(self._rejected_out)
        else:
            self._rejected_out.unlink(missing_ok=True)  # of an earlier prediction
        self._beside.replace(self._out)
        return str(self._rejected_out) if has_rejected else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(Exception):  # after a failure: what failed is told already
            self._writer.close()
        self._rejected.close()
        self._beside.unlink(missing_ok=True)
        self._rejected_beside.unlink(missing_ok=True)


def _rows(columns: dict[str, Any]) -> Iterator[tuple[int, str, str, list[float]]]:
    told = (columns["line"], columns["txt"], columns["label"], columns["proba"].tolist())
    return zip(*told, strict=True)


class _JsonLines:
    """A JSON object a row, the probabilities in one of their own."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
        self._file: BinaryIO = path.open("wb")
        self._classes = classifier.classes_.astype(str).tolist()
        self._version = classifier.version

    def write(self, columns: dict[str, Any]) -> None:
        rows = zip(
            columns["line"],
            columns["txt"],
            columns["label"],
            columns["proba"].tolist(),
            strict=True,
        )
        for line, text, label, row in rows:
            told = {
                "line": line,
                "txt": text,
                "label": label,
                "probabilities": dict(zip(self._classes, row, strict=True)),
                "version": self._version,
            }
            self._file.write((json.dumps(told, ensure_ascii=False) + "\n").encode())

    def close(self) -> None:
        self._file.close()


class _Csv:
    """RFC 4180 with a header, a column for each probability."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._version = classifier.version
        self._csv = csv.writer(self._file)
        probabilities = [f"p_{name}" for name in classifier.classes_]
        self._csv.writerow(["line", "txt", "label", *probabilities, "version"])

    def write(self, columns: dict[str, Any]) -> None:
        rows = zip(
            columns["line"],
            columns["txt"],
            columns["label"],
            columns["proba"].tolist(),
            strict=True,
        )
        self._csv.writerows(
            [line, text, label, *row, self._version] for line, text, label, row in rows
        )

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """A column for each probability."""

    def __init__(self, path: Path, classifier: Classifier) -> None:
        import pyarrow as pa

        from neural_classifiers.engine.rows.parquet import TableWriter

        self._probabilities = [f"p_{name}" for name in classifier.classes_]
        self._version = classifier.version
        names = {"line": pa.int64(), "txt": pa.string(), "label": pa.string()}
        names |= dict.fromkeys(self._probabilities, pa.float64()) | {"version": pa.string()}
        self._schema = pa.schema(names)
        self._stack = contextlib.ExitStack()
        self._table = self._stack.enter_context(TableWriter(path, self._schema))

    def write(self, columns: dict[str, Any]) -> None:
        import pyarrow as pa

        told = {name: columns[name] for name in ("line", "txt", "label")}
        told |= dict(zip(self._probabilities, columns["proba"].T, strict=True))
        told["version"] = [self._version] * len(columns["line"])
        self._table.write(pa.table(told, schema=self._schema))

    def close(self) -> None:
        self._stack.close()


def write_images(out: Path, rows: Sequence[dict[str, Any]], reader: DigitReader) -> None:
    """Write the predictions of images as JSON Lines, CSV or Parquet, whole or not at all.

    Raises
    ------
    PredictionError
        If the ending of `out` is none of these.
    """
    if out.suffix not in FORMATS:
        raise PredictionError(f"{out}: expected a file that ends in one of {', '.join(FORMATS)}")
    make_folder(out.parent.absolute())
    write_durably(out, _images_to_bytes(rows, out.suffix, reader.classes_.astype(str).tolist()))


def _images_to_bytes(rows: Sequence[dict[str, Any]], suffix: str, classes: list[str]) -> bytes:
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    names = ["file", "image", "label", *(f"p_{name}" for name in classes), "version"]
    flat = [
        [row["file"], row["image"], row["label"], *row["probabilities"].values(), row["version"]]
        for row in rows
    ]
    if suffix == ".csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows([names, *flat])
        return text.getvalue().encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    columns = {name: [row[i] for row in flat] for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
