"""Fitted scikit-learn models as bytes, and what makes two of them the same model.

The bytes are skops' format: reading them runs no code, and classes beyond scikit-learn's own data
types are built only when they stand on the fixed list below. A skops file differs in bytes from
dump to dump (it keeps dates and the memory addresses of objects), so two models are the same when
their canonical parameters are.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Mapping
from types import FunctionType
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator

from neural_classifiers.arrays.unpacking import check_archive

# Beyond what skops trusts by itself: the state of MLPClassifier's optimiser, a test of features,
# and our own estimators. A file never decides what is on this list.
TRUSTED = (
    "neural_classifiers.comments.models.balanced.BalancedMLPClassifier",
    "neural_classifiers.judgement.calibration.Calibrated",
    "neural_classifiers.comments.models.selection.SelectByRows",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)


# What a vectoriser may do with a text: neither open the file of that name nor run a function.
TOKENS = r"(?u)\b\w\w+\b"  # scikit-learn's words
ALLOWED = {
    "input": ("content",),
    "tokenizer": (None,),
    "preprocessor": (None,),
    "analyzer": ("word", "char", "char_wb"),
}


class NotAModelError(ValueError):
    """What was to be read is no model, or holds what no model of ours does."""


# The last two: of arrays larger, and of parts deeper, than there is memory for
_DAMAGE = zipfile.BadZipFile, ValueError, TypeError, KeyError, MemoryError, RecursionError


def model_to_bytes(model: BaseEstimator) -> bytes:
    """A fitted scikit-learn estimator in skops' format."""
    import skops.io

    return skops.io.dumps(model)


def model_from_bytes(content: bytes, patterns: Collection[str] = (TOKENS,)) -> BaseEstimator:
    """The estimator that `model_to_bytes` wrote.

    Parameters
    ----------
    content : bytes
    patterns : collection of str
        Regular expressions that a vectoriser may find its words by: of others some never end.

    Raises
    ------
    NotAModelError
        If it is none, or holds a class that is on neither skops' list nor ours, or would do more
        with a text than `ALLOWED` and `patterns` say.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_archive(archive, len(content), "model")
        model = skops.io.loads(content, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        raise NotAModelError(f"expected classes of scikit-learn's models, got: {error}") from None
    except _DAMAGE as error:
        raise NotAModelError(f"expected a model in skops' format, got: {error}") from error
    if not isinstance(model, BaseEstimator):
        raise NotAModelError(f"expected a scikit-learn estimator, got {type(model).__name__}")
    known = {**ALLOWED, "token_pattern": tuple(patterns)}
    for name, value in model.get_params().items():
        allowed = known.get(name.rpartition("__")[2])
        if allowed and value not in allowed:
            raise NotAModelError(
                f"expected {name} to be one of {allowed!r:.200}, got {value!r:.200}"
            )
    return model


def parameters_digest(model: BaseEstimator) -> str:
    """Sha256 over an estimator's class, settings and fitted attributes, as hex.

    Equal for equal models, whatever bytes they were saved as: it reads what scikit-learn calls
    parameters (``get_params``) and fitted attributes (names that end in ``_``), down through
    pipelines, arrays bit by bit.
    """
    digest = hashlib.sha256()
    _feed(digest, model)
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    if isinstance(value, BaseEstimator):
        digest.update(f"<{type(value).__name__}>".encode())
        _feed(digest, value.get_params(deep=False) | _fitted(value))
    elif isinstance(value, Mapping):
        digest.update(b"{")
        for name in sorted(value, key=str):
            digest.update(json.dumps(str(name)).encode())
            _feed(digest, value[name])
        digest.update(b"}")
    elif isinstance(value, list | tuple):
        digest.update(b"[")
        for item in value:
            _feed(digest, item)
        digest.update(b"]")
    elif sparse.issparse(value):
        _feed(digest, value.toarray())
    elif isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype == object:
            _feed(digest, [repr(item) for item in array.ravel()])
        else:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    elif isinstance(value, type | FunctionType):
        digest.update(value.__qualname__.encode())
    elif value is None or isinstance(value, str | int | float | bool):
        digest.update(json.dumps(value).encode())
    else:
        raise TypeError(f"expected a parameter made of numbers and texts, got {type(value)}")


def _fitted(model: BaseEstimator) -> dict[str, Any]:
    names = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    if hasattr(type(model), "idf_"):  # TfidfVectorizer keeps it in a private transformer
        names.add("idf_")
    return {name: getattr(model, name) for name in names}
