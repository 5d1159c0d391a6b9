"""Equivalence of estimators: which cannot but end alike, known before any is fitted.

`describe` writes an estimator down as plain values and leaves out the parameters that
the table `WITHOUT_EFFECT` declares idle with the others. Equal descriptions therefore
mean equal fits on equal data. Whatever is in doubt counts as different: a needless fit
costs seconds, a wrong merge costs the answer.
"""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Idle(NamedTuple):
    """A parameter that acts only where each of `acts_with` has one of these values."""

    parameter: str
    acts_with: Mapping[str, tuple[Any, ...]]

    def is_idle(self, parameters: Mapping[str, Any]) -> bool:
        """True if the parameter has no effect among these values."""
        return any(parameters[name] not in values for name, values in self.acts_with.items())


_SGD = {"solver": ("sgd",)}
_ADAM = {"solver": ("adam",)}
_STOCHASTIC = {"solver": ("sgd", "adam")}

# Read in scikit-learn 1.9.1: methods of BaseMultilayerPerceptron in
# sklearn/neural_network/_multilayer_perceptron.py, optimisers in _stochastic_optimizers.py.
WITHOUT_EFFECT: dict[str, tuple[Idle, ...]] = {
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier": (
        # _fit_stochastic hands these to SGDOptimizer only, whose iteration_ends reads power_t
        # for lr_schedule 'invscaling' only
        Idle("learning_rate", _SGD),
        Idle("power_t", _SGD | {"learning_rate": ("invscaling",)}),
        Idle("momentum", _SGD),
        Idle("nesterovs_momentum", _SGD),
        # _fit_stochastic hands these to AdamOptimizer only
        Idle("beta_1", _ADAM),
        Idle("beta_2", _ADAM),
        Idle("epsilon", _ADAM),
        # _fit_stochastic, which _fit calls for sgd and adam only, reads these, and
        # validation_fraction inside 'if early_stopping' only
        Idle("learning_rate_init", _STOCHASTIC),
        Idle("batch_size", _STOCHASTIC),
        Idle("shuffle", _STOCHASTIC),
        Idle("early_stopping", _STOCHASTIC),
        Idle("n_iter_no_change", _STOCHASTIC),
        Idle("validation_fraction", _STOCHASTIC | {"early_stopping": (True,)}),
        # only _fit_lbfgs reads it
        Idle("max_fun", {"solver": ("lbfgs",)}),
    ),
}


def describe(estimator: Any, omit: str | None = None) -> dict[str, Any]:
    """Class and effective parameters of an estimator, as values that JSON can hold.

    Parameters
    ----------
    estimator : estimator
        Fitted or not: only its parameters count. Nested estimators are described too.
    omit : str, optional
        One parameter of the estimator itself to leave out.

    Returns
    -------
    dict
        ``{"class": dotted name, "parameters": {name: value}}``. Functions and classes
        stand by their dotted name: a change of their code is the caller's to notice.

    Raises
    ------
    TypeError
        If a parameter holds something whose value cannot be read from outside: a lambda,
        a local function, a bound method, a generator of random numbers, an open file.

    Examples
    --------
    >>> from sklearn.neural_network import MLPClassifier
    >>> describe(MLPClassifier(momentum=0.5)) == describe(MLPClassifier(momentum=0.9))
    True
    """
    name = _dotted_name(type(estimator))
    parameters = estimator.get_params(deep=False)
    idle = {rule.parameter for rule in WITHOUT_EFFECT.get(name, ()) if rule.is_idle(parameters)}
    if idle and not _is_accepted(estimator):
        idle = set()
    return {
        "class": name,
        "parameters": {
            key: _plain(value, f"parameter {key!r} of {type(estimator).__name__}")
            for key, value in sorted(parameters.items())
            if key not in idle and key != omit
        },
    }


def _is_accepted(estimator: Any) -> bool:
    """False if a fit fails over its parameters: it does where a refused value is idle, too."""
    try:
        estimator._validate_params()
    except ValueError:
        return False
    return True


def digest(*values: Any) -> str:
    """SHA-256 of JSON values, in hexadecimal: the same in every process and release."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any, where: str) -> Any:
    """`value` as JSON, different for all that an estimator could tell apart."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, where) for item in value]}
    if isinstance(value, set | frozenset):
        return {"set": sorted((_plain(item, where) for item in value), key=repr)}
    if isinstance(value, Mapping):
        pairs = [[_plain(key, where), _plain(item, where)] for key, item in value.items()]
        return {"mapping": pairs}
    if isinstance(value, np.dtype):
        return {"dtype": value.str}
    if isinstance(value, np.generic | np.ndarray) and not value.dtype.hasobject:
        # The type stays: np.float32(0.5) makes an estimator compute in single precision.
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": [value.dtype.str, list(value.shape), content]}
    if isinstance(value, re.Pattern):
        return {"pattern": [_plain(value.pattern, where), value.flags]}
    if isinstance(value, functools.partial):
        parts = [value.func, value.args, value.keywords]
        return {"partial": [_plain(part, where) for part in parts]}
    if isinstance(value, type):
        return {"name": _dotted_name(value)}
    if hasattr(value, "get_params"):
        return describe(value)
    if _is_plain_function(value):
        return {"name": _dotted_name(value)}
    raise TypeError(
        f"{where}: expected a value that can be written down (numbers, texts, arrays, "
        f"estimators, functions of a module), got {value!r}"
    )


def _is_plain_function(value: Any) -> bool:
    """True if the dotted name alone says what a function does."""
    name = getattr(value, "__qualname__", None)
    owner = getattr(value, "__self__", None)
    is_bound = owner is not None and type(owner).__name__ != "module"
    return callable(value) and isinstance(name, str) and "<" not in name and not is_bound


def _dotted_name(value: Any) -> str:
    return f"{getattr(value, '__module__', None) or 'builtins'}.{value.__qualname__}"
