"""Files of predictions: JSON Lines, CSV or Parquet, each whole or absent."""

import contextlib
import csv
import glob
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from neural_classifiers.engine.records import make_folder
from neural_classifiers.engine.rows.parquet import TableWriter
from neural_classifiers.errors import RefusedError
from neural_classifiers.serving.model import PromotedModel

FORMATS = (".jsonl", ".csv", ".parquet")
_MARK = ".writing-"
_SHARE = "p_"  # begins the name of a column of probabilities
_TYPES = {"line": pa.int64(), "image": pa.int64()}  # all other columns are text

WritePredictions = Callable[[Mapping[str, Sequence[Any]], Sequence[str], np.ndarray], None]


class PredictionError(RefusedError):
    """What cannot be predicted: says what was expected and what came."""


@contextlib.contextmanager
def prediction_writer(
    out: Path, model: PromotedModel, names: Sequence[str]
) -> Iterator[WritePredictions]:
    """A function that adds rows to a file of predictions, which is whole in the end, or absent.

    It takes the columns called `names` (such as ``line`` and ``txt``), a label for each row, and
    the rows' probabilities as an array of shape (n_rows, n_classes). The columns of the file are
    these, ``label``, ``p_<class>`` for each class and ``version``; JSON Lines has one object of all
    ``probabilities``, CSV (RFC 4180) begins with a header.

    Parameters
    ----------
    out : Path
        Its ending tells the format.
    model : PromotedModel
        That predicts; knows the classes and the version.
    names : sequence of str

    Raises
    ------
    PredictionError
        If the ending of `out` is none of `FORMATS`.
    """
    if out.suffix not in FORMATS:
        raise PredictionError(f"{out}: expected a file that ends in one of {', '.join(FORMATS)}")
    shares = {f"{_SHARE}{name}": pa.float64() for name in model.classes_}
    types = {name: _TYPES.get(name, pa.string()) for name in [*names, "label"]}
    schema = pa.schema(types | shares | {"version": pa.string()})

    def table(columns: Mapping[str, Sequence[Any]], labels: Any, probabilities: Any) -> pa.Table:
        columns = dict(columns) | {"label": labels, "version": [model.version] * len(labels)}
        columns |= dict(zip(shares, np.reshape(probabilities, (-1, len(shares))).T, strict=True))
        return pa.table(columns, schema=schema)

    with whole_file(out) as path, contextlib.ExitStack() as stack:
        if out.suffix == ".parquet":
            parquet = stack.enter_context(TableWriter(path, schema))
            yield lambda *rows: parquet.write(table(*rows))
            return
        file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        if out.suffix == ".csv":
            rows_of_csv = csv.writer(file)
            rows_of_csv.writerow(schema.names)
            yield lambda *rows: rows_of_csv.writerows(
                zip(*(column.to_pylist() for column in table(*rows).columns), strict=True)
            )
        else:
            yield lambda *rows: file.writelines(map(_json_line, table(*rows).to_pylist()))


def _json_line(row: Mapping[str, Any]) -> str:
    nested: dict[str, Any] = {}
    for name, value in row.items():
        if name.startswith(_SHARE):
            nested.setdefault("probabilities", {})[name.removeprefix(_SHARE)] = value
        else:
            nested[name] = value
    return json.dumps(nested, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def whole_file(out: Path, if_empty: bool = True) -> Iterator[Path]:
    """A hidden path to write; in the end it is flushed and takes the name `out`, or is gone.

    An empty file takes no name unless `if_empty`; one of that name from before goes.
    """
    make_folder(out.parent.absolute())
    for left in out.parent.glob(f".{glob.escape(out.name)}{_MARK}*"):  # by a kill
        if not psutil.pid_exists(int(left.name.rpartition(_MARK)[2])):
            left.unlink(missing_ok=True)
    path = out.with_name(f".{out.name}{_MARK}{os.getpid()}")
    try:
        yield path
        with path.open("rb") as file:
            os.fsync(file.fileno())
        if if_empty or path.stat().st_size:
            path.replace(out)
        else:
            out.unlink(missing_ok=True)
    finally:
        path.unlink(missing_ok=True)
