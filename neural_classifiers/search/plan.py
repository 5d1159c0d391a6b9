"""Plan of a grid search: its candidates, its folds, and which fits cannot but be alike.

A search has four steps, which may run in four processes::

    plan = plan_search(estimator, grid, X, y, namespace="comments of May, release 7")
    fit(plan, store, folds=[0])  # and so on, in as many processes as one likes
    results = collect(plan, store)
    best = refit(plan, results)

Scores, ranks and winner are those of `GridSearchCV`, to the last digit. What is saved:

- candidates that cannot differ (`search.equivalence`) are fitted once;
- the transformers before the classifier are fitted once a fold for all candidates;
- one *training* of an estimator with `fit_staged` serves every epoch count of the grid;
- a fit that the store holds is not repeated, whichever search made it.

The store holds what each fit answered on the rows held out (predictions, probabilities,
decision values; `search.answers`), not its score: another scoring over the same fits trains
nothing.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline

from neural_classifiers.errors import ParameterError
from neural_classifiers.search.equivalence import describe, digest

Store = MutableMapping[str, bytes]


@dataclass(frozen=True, eq=False, repr=False)
class SearchPlan:
    """All that is known of a search before its first fit; cheap to make again.

    Attributes
    ----------
    estimator : estimator
        Never fitted itself.
    X : n_rows rows
    y : ndarray of shape (n_rows,)
    namespace : str
    scorer : callable
        scikit-learn's: takes an estimator, rows and labels.
    candidates : tuple of dict
        Parameters of each candidate, named as in the grid, in `ParameterGrid`'s order.
    folds : tuple of (ndarray, ndarray)
        Rows to train on and rows held out.
    same_as : tuple of int
        For each candidate the first one that cannot differ from it; itself, mostly.
    identities : tuple of str
        Digest of each candidate's estimator; equal where the candidates cannot differ.
    stages : tuple of (int or None)
        Epoch count at which a longer training answers for the candidate; None: only its own.
    trainings : tuple of tuple of int
        Candidates that one training serves; every distinct candidate stands in one.
        Trainings behind the same transformers stand together.
    """

    estimator: Any
    X: Any
    y: np.ndarray
    namespace: str
    scorer: Callable[..., float]
    candidates: tuple[dict[str, Any], ...]
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    same_as: tuple[int, ...]
    identities: tuple[str, ...]
    stages: tuple[int | None, ...]
    trainings: tuple[tuple[int, ...], ...]

    @property
    def distinct(self) -> tuple[int, ...]:
        """Candidates that are really fitted."""
        return tuple(sorted(set(self.same_as)))

    def key(self, candidate: int, fold: int) -> str:
        """Name of a fit in the store: 64 hexadecimal digits.

        The digest of the namespace, of everything that decides the estimator (not only of
        what the grid varies) and of the rows trained on and held out.
        """
        return digest(self.namespace, self.identities[candidate], self._fold_digests[fold])

    def build(self, candidate: int) -> Any:
        """The candidate's estimator, unfitted."""
        return with_parameters(self.estimator, self.candidates[candidate])

    def held_out(self, fold: int) -> tuple[Any, np.ndarray]:
        """Rows that the fold holds out, and their labels."""
        rows = self.folds[fold][1]
        return select_rows(self.X, rows), self.y[rows]

    @cached_property
    def _fold_digests(self) -> list[str]:
        return [
            digest([hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest() for rows in fold])
            for fold in self.folds
        ]


def plan_search(
    estimator: Any,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    X: Any,
    y: Any,
    *,
    namespace: str,
    cv: Any = 5,
    scoring: str | Callable[..., Any] | None = None,
) -> SearchPlan:
    """Plan a search: what is wrong with it is an error here, before the first fit.

    Parameters
    ----------
    estimator : estimator
        A scikit-learn estimator, often a `Pipeline`. Never fitted itself.
    grid : mapping of str to sequence, or a list of them
        Values to try, as for `ParameterGrid`. A name that a `Pipeline` does not know means
        a parameter of its last step: ``alpha`` instead of ``mlp__alpha``.
    X : sequence, array, sparse matrix or data frame with n_rows rows
    y : array-like of shape (n_rows,)
        Labels or targets, none missing.
    namespace : str
        Names all that decides a fit beyond the estimator's parameters: a digest of the
        data, the code and the versions of the libraries. Fits are shared within it.
    cv : int, splitter or iterable
        As for `GridSearchCV`. Splits are drawn here, once: give a shuffling splitter a
        seed if several processes are to plan the same search.
    scoring : str, callable or None
        As for `GridSearchCV`, one scorer. It may ask for predictions, probabilities and decision
        values; it sees nothing else of the estimator.

    Raises
    ------
    ValueError
        Unknown parameter, empty grid, unknown scoring, rows and labels of different number, a
        class with fewer rows than folds.
    TypeError
        Labels of mixed types, or a parameter that cannot be written down.
    """
    labels = _labels(y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows != len(labels):
        raise ValueError(f"expected as many labels as rows, got {len(labels)} for {n_rows}")
    candidates = _candidates(grid)
    estimators = [with_parameters(estimator, candidate) for candidate in candidates]
    identities = [digest(describe(built)) for built in estimators]
    firsts: dict[str, int] = {}
    same_as = [firsts.setdefault(identity, i) for i, identity in enumerate(identities)]

    return SearchPlan(
        estimator=estimator,
        X=X,
        y=labels,
        namespace=namespace,
        scorer=_scorer(estimator, scoring),
        candidates=tuple(candidates),
        folds=tuple(_folds(estimator, X, labels, cv)),
        same_as=tuple(same_as),
        identities=tuple(identities),
        stages=tuple(_stage(built) for built in estimators),
        trainings=_trainings(estimators, list(firsts.values())),
    )


def _labels(y: Any) -> np.ndarray:
    """Labels without Python objects, so that they can be stored without pickle."""
    labels = np.asarray(y)
    if labels.dtype != object:
        return labels
    types = sorted({type(label).__name__ for label in labels.tolist()})
    if types != ["str"]:
        raise TypeError(f"y: expected labels of one type, texts or numbers, got {types}")
    return labels.astype(str)


def _candidates(grid: Any) -> list[dict[str, Any]]:
    grids = [grid] if isinstance(grid, Mapping) else list(grid)
    if not grids or not all(grids):
        raise ParameterError(
            f"empty grid: expected at least one parameter with a value, got {grid!r}"
        )
    for name, values in ((name, values) for part in grids for name, values in part.items()):
        is_sequence = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if not is_sequence or len(values) == 0:
            raise ParameterError(
                f"empty grid: parameter {name!r}: expected a sequence of at least one value, "
                f"got {values!r}"
            )
    return list(ParameterGrid(grids))


def _scorer(estimator: Any, scoring: Any) -> Any:
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise ParameterError(f"scoring: expected one scorer, got {scoring!r}")
    default = "accuracy" if is_classifier(estimator) else "r2"  # what `score` gives
    try:
        return check_scoring(estimator, scoring=default if scoring is None else scoring)
    except (ValueError, TypeError) as error:
        raise ParameterError(
            f"unknown scoring {scoring!r}: expected a name that "
            "sklearn.metrics.get_scorer_names() lists, or a function (estimator, X, y)"
        ) from error


def with_parameters(estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """A clone of the estimator with a candidate's parameters set."""
    known = estimator.get_params()
    steps = dict(estimator.steps) if isinstance(estimator, Pipeline) else {}
    last = list(steps)[-1] if steps else None

    def full_name(name: str) -> str:
        is_own = last is None or name in known or name.split("__")[0] in steps
        return name if is_own else f"{last}__{name}"

    # Values are cloned: an estimator among them must not be fitted by two candidates.
    values = {full_name(name): clone(value, safe=False) for name, value in parameters.items()}
    try:
        return clone(estimator).set_params(**values)
    except ValueError as error:
        raise ParameterError(f"unknown parameter in the grid, {parameters}: {error}") from error


def last_step(estimator: Any) -> Any:
    """The last step of a pipeline; an estimator that is none, itself."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _stage(estimator: Any) -> int | None:
    """The epoch count at which a longer training can answer for this one, if any."""
    final = last_step(estimator)
    name = getattr(final, "staged_parameter", None)
    stage = None if name is None else final.get_params()[name]
    return stage if isinstance(stage, int) and not isinstance(stage, bool) and stage > 0 else None


def _trainings(estimators: Sequence[Any], distinct: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of candidates that differ in the stage at most, alike transformers together."""
    groups: dict[str | None, dict[str, list[int]]] = {}
    for candidate in distinct:
        estimator = estimators[candidate]
        final = last_step(estimator)
        omitted = None if _stage(estimator) is None else final.staged_parameter
        transformers = transformers_identity(estimator)
        last = digest(describe(final, omit=omitted))
        groups.setdefault(transformers, {}).setdefault(last, []).append(candidate)
    return tuple(tuple(group) for part in groups.values() for group in part.values())


def transformers_identity(estimator: Any) -> str | None:
    """Digest of the steps before the last one; None where there are none."""
    has_transformers = isinstance(estimator, Pipeline) and len(estimator) > 1
    return digest(describe(estimator[:-1])) if has_transformers else None


def _folds(
    estimator: Any, X: Any, y: np.ndarray, cv: Any
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    if isinstance(splitter, StratifiedKFold):
        # scikit-learn only warns, and goes on with folds that lack the class.
        for label, count in zip(*np.unique(y, return_counts=True), strict=True):
            if count < splitter.get_n_splits():
                raise ParameterError(
                    f"class {label.item()!r} has {count} rows, too few for "
                    f"{splitter.get_n_splits()} folds: each fold needs at least one"
                )
    for rows in splitter.split(X, y):
        yield np.asarray(rows[0]), np.asarray(rows[1])


def select_rows(X: Any, rows: np.ndarray) -> Any:
    """Some rows of an array, a sparse matrix, a data frame or a sequence, by position."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else [X[row] for row in rows]
