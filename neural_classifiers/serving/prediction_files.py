"""Files of predictions: JSON Lines, CSV or Parquet, each whole or absent."""

import contextlib
import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neural_classifiers.engine.files import whole_file
from neural_classifiers.engine.rows.parquet import TableWriter
from neural_classifiers.errors import RefusedError
from neural_classifiers.serving.model import PromotedModel

FORMATS = (".jsonl", ".csv", ".parquet")

Rows = Sequence[Mapping[str, Any]]


class PredictionError(RefusedError):
    """What cannot be predicted: says what was expected and what came."""

    code = "NC72"


@contextlib.contextmanager
def prediction_writer(
    out: Path, model: PromotedModel, names: Mapping[str, pa.DataType]
) -> Iterator[Callable[[Rows], object]]:
    """A function that adds rows to a file of predictions, which is whole in the end, or absent.

    A row has the columns `names`, and what `prediction_rows` gives. JSON Lines has it as it is, CSV
    (RFC 4180, with a header) and Parquet with a column ``p_<class>`` for each probability.

    Raises
    ------
    PredictionError
        If the ending of `out` is none of `FORMATS`.
    """
    if out.suffix not in FORMATS:
        raise PredictionError(f"{out}: expected a file that ends in one of {', '.join(FORMATS)}")
    shares = {f"p_{name}": pa.float64() for name in model.classes_}
    schema = pa.schema({**names, "label": pa.string(), **shares, "version": pa.string()})
    with whole_file(out) as path, contextlib.ExitStack() as stack:
        if out.suffix == ".parquet":
            parquet = stack.enter_context(TableWriter(path, schema))
            yield lambda rows: parquet.write(pa.Table.from_pylist(list(map(_flat, rows)), schema))
            return
        file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        if out.suffix == ".csv":
            table = csv.DictWriter(file, schema.names, extrasaction="ignore")
            table.writeheader()
            yield lambda rows: table.writerows(map(_flat, rows))
        else:
            yield lambda rows: file.writelines(map(json_line, rows))


def refuse_sources(outs: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write what is read.

    Raises
    ------
    PredictionError
    """
    for out, source in itertools.product(outs, sources):
        if out.exists() and out.samefile(source):
            raise PredictionError(f"{out}: expected another file than the one that is read")


def prediction_rows(model: PromotedModel, probabilities: np.ndarray) -> Iterator[dict[str, Any]]:
    """``label``, ``probabilities`` by class, and ``version`` of each row of probabilities."""
    classes = model.classes_.astype(str).tolist()
    labels = model.answers(probabilities).astype(str).tolist()
    for label, row in zip(labels, probabilities.tolist(), strict=True):
        shares = dict(zip(classes, row, strict=True))
        yield {"label": label, "probabilities": shares, "version": model.version}


def json_line(row: Mapping[str, Any]) -> str:
    """A row of JSON Lines, with its end."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **{f"p_{name}": share for name, share in row["probabilities"].items()}}
