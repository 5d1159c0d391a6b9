"""Grid search in which every fit is kept, none is made twice, and any process may help.

Four steps, which may run in four processes::

    planned = plan_search(estimator, grid, X, y, namespace="comments of May, release 7")
    search.fit_share(planned, store, folds=[0])  # and so on, in as many processes as one likes
    results = search.collect(planned, store)
    best = search.refit(planned, results)

Scores, ranks and winner are those of `GridSearchCV`, to the last digit. What is saved:

- candidates that cannot differ (`search.equivalence`) are fitted once;
- the transformers before the classifier are fitted once a fold for all candidates;
- one *training* of an estimator with `fit_staged` serves every epoch count of the grid;
- a fit that the store holds is not repeated, in whatever search it was made.

The store keeps what each fit answered on the rows held out (predictions, probabilities,
decision values; `search.answers`), not its scores: another scoring over the
same fits trains nothing.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline

from neural_classifiers.search.answers import Outcome, decode, encode, score
from neural_classifiers.search.cv_results import add_mean_and_std, add_scores, parameter_columns
from neural_classifiers.search.equivalence import describe, digest
from neural_classifiers.search.training import Features, Job, train

__all__ = [
    "FinishedFit",
    "Ledger",
    "Progress",
    "SearchPlan",
    "SearchResults",
    "Share",
    "check_parameter",
    "collect",
    "fit_share",
    "held_out_answers",
    "make_features",
    "missing_jobs",
    "plan_search",
    "refit",
]

Store = MutableMapping[str, bytes]
Scoring = str | Callable[..., Any] | Collection[str] | Mapping[str, str | Callable[..., Any]] | None


@dataclass(frozen=True, eq=False, repr=False)
class SearchPlan:
    """What `plan` has found out: all that the other steps need, and cheap to make again.

    Attributes
    ----------
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
    scorers : dict of str to callable
        scikit-learn's scorers by name; a single one is called ``score``.
    """

    estimator: Any
    X: Any
    y: np.ndarray
    namespace: str
    refit: bool | str | Callable[[dict[str, Any]], int]
    scorers: dict[str, Any]
    is_multimetric: bool
    candidates: tuple[dict[str, Any], ...]
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]
    same_as: tuple[int, ...]
    identities: tuple[str, ...]
    stages: tuple[int | None, ...]
    trainings: tuple[tuple[int, ...], ...]

    @property
    def distinct(self) -> tuple[int, ...]:
        """Candidates that are really fitted: `n_fits` is their number times the folds."""
        return tuple(sorted(set(self.same_as)))

    @property
    def n_fits(self) -> int:
        """Distinct (candidate, fold) pairs, each one entry of the store."""
        return len(self.distinct) * len(self.folds)

    def key(self, candidate: int, fold: int) -> str:
        """Name of a fit in the store: 64 hexadecimal digits.

        The digest of the namespace, of everything that decides the estimator (not only of
        what the grid varies) and of the rows trained on and held out.
        """
        return digest(self.namespace, self.identities[candidate], self._fold_digests[fold])

    def build(self, candidate: int) -> Any:
        """The candidate's estimator, unfitted."""
        return _with_parameters(self.estimator, self.candidates[candidate])

    def held_out(self, fold: int) -> tuple[Any, np.ndarray]:
        """Rows that the fold holds out, and their labels."""
        rows = self.folds[fold][1]
        return _rows(self.X, rows), self.y[rows]

    @cached_property
    def _fold_digests(self) -> list[str]:
        return [
            digest([hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest() for rows in fold])
            for fold in self.folds
        ]


@dataclass(frozen=True)
class Progress:
    """How far a search is, or a share of it.

    Attributes
    ----------
    done, total : int
        Distinct fits, those found in the store included.
    best_score, best_parameters : float and dict, or None
        The best mean over the folds among the candidates that are through all of them; None
        while there is none.
    seconds_left : float or None
        What the fits left took on other folds, on average, else what a training took so
        far, divided among the workers; None before the first.
    """

    done: int
    total: int
    best_score: float | None
    best_parameters: dict[str, Any] | None
    seconds_left: float | None


@dataclass(frozen=True)
class FinishedFit:
    """One fit that has just been made and stored.

    `scores` has one value per scorer, nan where it failed; `error` is ``""`` mostly.
    """

    candidate: int
    fold: int
    parameters: dict[str, Any]
    scores: dict[str, float]
    seconds: float
    error: str
    progress: Progress


@dataclass(frozen=True)
class Share:
    """What `fit_share` did: fits made and fits found in the store; trainings it took."""

    executed: int = 0
    found: int = 0
    trainings: int = 0


@dataclass(frozen=True)
class SearchResults:
    """Results under the names that `GridSearchCV` gives them.

    Attributes
    ----------
    cv_results_ : dict of str to sequence
        `GridSearchCV`'s columns, then two of our own. ``shared_with``: the first candidate
        whose training this one's results come from, its own number if it shares none;
        ``mean_fit_time`` of such rows counts the same seconds again. Times are measured,
        without the transformers that a fold shares; in a training of several epoch counts,
        up to the epoch in question. ``error``: first error of the candidate's fits, or ``""``.
    best_index_, best_params_, best_score_ : int, dict, float or None
        None where `GridSearchCV` has no such attribute: several scorers and no refit, or
        (`best_score_`) a refit that is a function.
    errors : dict of (int, int) to str
        Full text of what failed, by candidate and fold.
    """

    cv_results_: dict[str, Any]
    best_index_: int | None
    best_params_: dict[str, Any] | None
    best_score_: float | None
    errors: dict[tuple[int, int], str]


# --- plan ---------------------------------------------------------------------------------


def plan_search(
    estimator: Any,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
    X: Any,
    y: Any,
    *,
    namespace: str,
    cv: Any = 5,
    scoring: Scoring = None,
    refit: bool | str | Callable[[dict[str, Any]], int] = True,
) -> SearchPlan:
    """Everything about a search that can be known before its first fit.

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
        Names all that decides a fit beside the estimator's parameters: a digest of the
        data, the code and the versions of the libraries. Fits are shared within it.
    cv : int, splitter or iterable
        As for `GridSearchCV`. Splits are drawn here, once: give a shuffling splitter a
        seed if several processes are to plan the same search.
    scoring : str, callable, collection of str, mapping, or None
        As for `GridSearchCV`. A scorer may ask for predictions, probabilities and decision
        values; it sees nothing else of the estimator.
    refit : bool, str or callable
        As for `GridSearchCV`: which scorer chooses the best candidate, or a function that
        does, or False.

    Raises
    ------
    ValueError
        Unknown parameter, empty grid, unknown scoring, a `refit` that names no scorer, rows
        and labels of different number, a class with fewer rows than folds.
    TypeError
        Labels of mixed types, or a parameter that cannot be written down.
    """
    labels = _labels(y)
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows != len(labels):
        raise ValueError(f"expected as many labels as rows, got {len(labels)} for {n_rows}")
    candidates = _candidates(grid)
    scorers, is_multimetric = _scorers(estimator, scoring)
    names_scorer = isinstance(refit, str) and refit in scorers
    if is_multimetric and not (refit is False or callable(refit) or names_scorer):
        raise ValueError(
            f"refit: expected False, a function or one of {sorted(scorers)}, got {refit!r}"
        )

    estimators = [_with_parameters(estimator, candidate) for candidate in candidates]
    identities = [digest(describe(built)) for built in estimators]
    firsts: dict[str, int] = {}
    same_as = [firsts.setdefault(identity, i) for i, identity in enumerate(identities)]

    return SearchPlan(
        estimator=estimator,
        X=X,
        y=labels,
        namespace=namespace,
        refit=refit,
        scorers=scorers,
        is_multimetric=is_multimetric,
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
        raise ValueError(f"empty grid: expected at least one parameter with a value, got {grid!r}")
    for name, values in ((name, values) for part in grids for name, values in part.items()):
        is_sequence = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if not is_sequence or len(values) == 0:
            raise ValueError(
                f"empty grid: parameter {name!r}: expected a sequence of at least one value, "
                f"got {values!r}"
            )
    return list(ParameterGrid(grids))


def _scorers(estimator: Any, scoring: Scoring) -> tuple[dict[str, Any], bool]:
    """Scorers by name, and whether there may be several."""
    if scoring is None or isinstance(scoring, str) or callable(scoring):
        return {"score": _scorer(estimator, scoring)}, False
    if not scoring:
        raise ValueError(f"scoring: expected at least one scorer, got {scoring!r}")
    named = scoring if isinstance(scoring, Mapping) else {name: name for name in scoring}
    return {name: _scorer(estimator, scorer) for name, scorer in named.items()}, True


def _scorer(estimator: Any, scoring: Any) -> Any:
    try:
        return check_scoring(estimator, scoring=scoring)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"unknown scoring {scoring!r}: expected a name that "
            "sklearn.metrics.get_scorer_names() lists, or a function (estimator, X, y)"
        ) from error


def _with_parameters(estimator: Any, parameters: Mapping[str, Any]) -> Any:
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
        raise ValueError(f"unknown parameter in the grid, {parameters}: {error}") from error


def check_parameter(estimator: Any, name: str) -> None:
    """Raise ValueError unless a grid over this estimator may vary the parameter."""
    known = estimator.get_params()
    last = _last_step(estimator).get_params()
    if name not in known and name not in last:
        raise ValueError(f"expected a parameter of {type(estimator).__name__}, got {name!r}")


def _last_step(estimator: Any) -> Any:
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _stage(estimator: Any) -> int | None:
    """The epoch count at which a longer training can answer for this one, if any."""
    final = _last_step(estimator)
    name = getattr(final, "staged_parameter", None)
    stage = None if name is None else final.get_params()[name]
    return stage if isinstance(stage, int) and not isinstance(stage, bool) and stage > 0 else None


def _trainings(estimators: Sequence[Any], distinct: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of candidates that differ in the stage at most, alike transformers together."""
    groups: dict[str | None, dict[str, list[int]]] = {}
    for candidate in distinct:
        estimator = estimators[candidate]
        final = _last_step(estimator)
        omitted = None if _stage(estimator) is None else final.staged_parameter
        transformers = _transformers_identity(estimator)
        last = digest(describe(final, omit=omitted))
        groups.setdefault(transformers, {}).setdefault(last, []).append(candidate)
    return tuple(tuple(group) for part in groups.values() for group in part.values())


def _transformers_identity(estimator: Any) -> str | None:
    """Equal where the steps before the last one do the same; None where there are none."""
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
                raise ValueError(
                    f"class {label.item()!r} has {count} rows, too few for "
                    f"{splitter.get_n_splits()} folds: each fold needs at least one"
                )
    for rows in splitter.split(X, y):
        yield np.asarray(rows[0]), np.asarray(rows[1])


# --- fit ----------------------------------------------------------------------------------


def fit_share(
    plan: SearchPlan,
    store: Store,
    *,
    folds: Collection[int] | None = None,
    trainings: Collection[int] | None = None,
    on_fit: Callable[[FinishedFit], None] | None = None,
) -> Share:
    """Make the missing fits of a share here, each in the store as soon as it is finished.

    `search.parallel.fit` does the same with several workers.

    Parameters
    ----------
    plan : SearchPlan
    store : mutable mapping of str to bytes
        Where fits are found and kept. Shares may use one store at the same time; the same
        fit made twice is stored twice, with equal content but for its times.
    folds, trainings : collection of int, optional
        The share: these folds of these ``plan.trainings``; all of them by default.
    on_fit : callable, optional
        Told of every fit once it is stored.

    Returns
    -------
    Share
        Counts of distinct fits: ``executed + found`` is the size of the share.

    Notes
    -----
    A candidate that raises is stored with its error and scores nan, as with
    ``error_score``; delete its key to have it tried again. MemoryError is the machine's
    fault and rises, as does whatever the store or `on_fit` raises.
    """
    jobs, found = missing_jobs(plan, store, folds, trainings)
    ledger = Ledger(plan, store, jobs, found, on_fit)
    last: tuple[tuple[str | None, int], Features] | None = None
    for job in jobs:
        ledger.begin(job)
        if last is None or last[0] != job.needs:
            try:
                last = job.needs, make_features(plan, job)
            except MemoryError:
                raise
            except Exception as error:
                ledger.fail(job, error)
                continue
        train(job.final, job.stages, last[1], lambda *kept, job=job: ledger.keep(job, *kept))
        ledger.end(job)
    return ledger.share


def missing_jobs(
    plan: SearchPlan,
    store: Mapping[str, bytes],
    folds: Collection[int] | None = None,
    trainings: Collection[int] | None = None,
) -> tuple[list[Job], dict[tuple[int, int], Outcome]]:
    """The trainings of a share with fits that the store lacks, and the fits that it holds."""
    folds = range(len(plan.folds)) if folds is None else folds
    trainings = range(len(plan.trainings)) if trainings is None else trainings
    jobs, found = [], {}
    for fold in folds:
        for number in trainings:
            stages = {}
            for candidate in plan.trainings[number]:
                outcome = decode(store.get(plan.key(candidate, fold)))
                if outcome is None:
                    stages[plan.stages[candidate]] = candidate
                else:
                    found[candidate, fold] = outcome
            if stages:
                estimator = plan.build(next(iter(stages.values())))
                needs = _transformers_identity(estimator), fold
                jobs.append(Job(number, fold, stages, _last_step(estimator), needs))
    return jobs, found


def make_features(plan: SearchPlan, job: Job) -> Features:
    """What the steps before the last one make of the fold of a job."""
    train_rows, held_out = plan.folds[job.fold][0], plan.held_out(job.fold)[0]
    y_train = plan.y[train_rows]
    X_train = _rows(plan.X, train_rows)
    if job.needs[0] is None:
        return Features(X_train, y_train, held_out)
    transformers = plan.build(next(iter(job.stages.values())))[:-1]
    return Features(
        transformers.fit_transform(X_train, y_train), y_train, transformers.transform(held_out)
    )


def _rows(X: Any, rows: np.ndarray) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else [X[row] for row in rows]


class Ledger:
    """Keeps finished fits in the store, counts them, and tells of them.

    Not to be used by two threads at once.
    """

    def __init__(
        self,
        plan: SearchPlan,
        store: Store,
        jobs: Sequence[Job],
        found: Mapping[tuple[int, int], Outcome],
        on_fit: Callable[[FinishedFit], None] | None,
        n_workers: int = 1,
    ) -> None:
        self.plan, self.store, self.on_fit, self.n_workers = plan, store, on_fit, n_workers
        self.share = Share(found=len(found))
        self._n_fits = len(found) + sum(len(job.stages) for job in jobs)
        self._n_shares = len({fold for _, fold in found} | {job.fold for job in jobs})
        self._waiting = {(job.training, job.fold): job for job in jobs}
        self._begun: dict[tuple[int, int], float] = {}
        self._seconds: dict[int, list[float]] = {}  # of a training, by its number
        self._scores: dict[int, list[float]] = {}
        numbers = {c: number for number, group in enumerate(plan.trainings) for c in group}
        longest: dict[tuple[int, int], float] = {}
        for (candidate, fold), outcome in found.items():
            place = numbers[candidate], fold
            longest[place] = max(longest.get(place, 0.0), outcome.fit_seconds)
            if on_fit is not None:
                self._note_score(candidate, _score(plan, outcome, fold)[0])
        for (number, _), seconds in longest.items():
            self._seconds.setdefault(number, []).append(seconds)

    def expected_seconds(self, training: int) -> float | None:
        """What the training took on other folds; None before the first."""
        known = self._seconds.get(training)
        return None if not known else sum(known) / len(known)

    def begin(self, job: Job) -> None:
        """A worker has taken a job."""
        self._begun[job.training, job.fold] = time.monotonic()

    def keep(self, job: Job, candidate: int, content: bytes) -> None:
        """Store one fit of a job; tell of it."""
        self.store[self.plan.key(candidate, job.fold)] = content
        self.share = replace(self.share, executed=self.share.executed + 1)
        if self.on_fit is None:
            return
        outcome = decode(content)
        assert outcome is not None
        scores, error = _score(self.plan, outcome, job.fold)
        self._note_score(candidate, scores)
        self.on_fit(
            FinishedFit(
                candidate=candidate,
                fold=job.fold,
                parameters=self.plan.candidates[candidate],
                scores=scores,
                seconds=outcome.fit_seconds,
                error=error,
                progress=self.progress(),
            )
        )

    def end(self, job: Job) -> None:
        """All fits of a job are kept."""
        place = job.training, job.fold
        del self._waiting[place]
        self._seconds.setdefault(job.training, []).append(time.monotonic() - self._begun.pop(place))
        self.share = replace(self.share, trainings=self.share.trainings + 1)

    def fail(self, job: Job, error: Exception) -> None:
        """Store a job's fits as failed: what comes before the last step raised."""
        for candidate in job.stages.values():
            self.keep(job, candidate, encode(Outcome(error=f"{type(error).__name__}: {error}")))
        self.end(job)

    def give_back(self, job: Job) -> None:
        """A worker has not finished a job."""
        self._begun.pop((job.training, job.fold), None)

    def progress(self) -> Progress:
        """How far the share is."""
        means = {
            candidate: sum(scores) / len(scores)
            for candidate, scores in self._scores.items()
            if len(scores) == self._n_shares
        }
        best = max(means, key=lambda candidate: means[candidate], default=None)
        done = self.share.executed + self.share.found
        return Progress(
            done=done,
            total=self._n_fits,
            best_score=None if best is None else means[best],
            best_parameters=None if best is None else self.plan.candidates[best],
            seconds_left=self._seconds_left() if done < self._n_fits else 0.0,
        )

    def _seconds_left(self) -> float | None:
        means = {number: sum(s) / len(s) for number, s in self._seconds.items()}
        if not means:
            return None
        typical = sum(means.values()) / len(means)
        now, left = time.monotonic(), 0.0
        for place in self._waiting:
            expected = means.get(place[0], typical)
            left += max(0.0, expected - (now - self._begun.get(place, now)))
        return left / min(self.n_workers, max(1, len(self._waiting)))

    def _note_score(self, candidate: int, scores: Mapping[str, float]) -> None:
        chosen = self.plan.refit if isinstance(self.plan.refit, str) else "score"
        value = scores.get(chosen, next(iter(scores.values())))
        if not np.isnan(value):
            self._scores.setdefault(candidate, []).append(value)


# --- collect ------------------------------------------------------------------------------


def _score(plan: SearchPlan, outcome: Outcome, fold: int) -> tuple[dict[str, float], str]:
    """Scores of one fit by scorer, and its first error."""
    kind = "classifier" if is_classifier(plan.estimator) else None
    kind = "regressor" if is_regressor(plan.estimator) else kind
    return score(outcome, plan.scorers, kind, *plan.held_out(fold))


def collect(plan: SearchPlan, store: Mapping[str, bytes]) -> SearchResults:
    """Results of a search whose fits are all in the store. Fits nothing.

    Raises
    ------
    LookupError
        If fits are missing: how many, and the first of them.
    ValueError
        If every fit failed.
    """
    n_folds = len(plan.folds)
    pairs = [(candidate, fold) for candidate in plan.distinct for fold in range(n_folds)]
    stored = {pair: decode(store.get(plan.key(*pair))) for pair in pairs}
    outcomes = {pair: outcome for pair, outcome in stored.items() if outcome is not None}
    missing = [pair for pair in pairs if pair not in outcomes]
    if missing:
        candidate, fold = missing[0]
        raise LookupError(
            f"{len(missing)} of {len(pairs)} fits are not in the store, the first: "
            f"{plan.candidates[candidate]} on fold {fold}"
        )
    if all(outcome.error for outcome in outcomes.values()):
        first = outcomes[pairs[0]].error
        raise ValueError(f"all {len(pairs)} fits failed, the first with {first}")
    scored = {pair: _score(plan, outcome, pair[1]) for pair, outcome in outcomes.items()}

    def table(values: Mapping[tuple[int, int], float]) -> np.ndarray:
        """One row per candidate, one column per fold."""
        rows = [[values[same, fold] for fold in range(n_folds)] for same in plan.same_as]
        return np.array(rows, dtype=np.float64)

    results: dict[str, Any] = {}
    fit_seconds = {pair: outcome.fit_seconds for pair, outcome in outcomes.items()}
    score_seconds = {pair: outcome.score_seconds for pair, outcome in outcomes.items()}
    add_mean_and_std(results, "fit_time", table(fit_seconds))
    add_mean_and_std(results, "score_time", table(score_seconds))
    results.update(parameter_columns(plan.candidates))
    results["params"] = [dict(candidate) for candidate in plan.candidates]
    for name in plan.scorers:
        scores = {pair: by_name[name] for pair, (by_name, _) in scored.items()}
        add_scores(results, f"test_{name}", table(scores))
    errors = {
        (candidate, fold): scored[same, fold][1]
        for candidate, same in enumerate(plan.same_as)
        for fold in range(n_folds)
        if scored[same, fold][1]
    }
    served_by = {c: min(group) for group in plan.trainings for c in group}
    results["shared_with"] = np.array([served_by[same] for same in plan.same_as])
    results["error"] = [
        next((errors[c, fold] for fold in range(n_folds) if (c, fold) in errors), "")
        for c in range(len(plan.candidates))
    ]
    return _with_best(plan, SearchResults(results, None, None, None, errors))


def _with_best(plan: SearchPlan, results: SearchResults) -> SearchResults:
    if plan.is_multimetric and plan.refit is False:
        return results
    table = results.cv_results_
    if callable(plan.refit):
        best = plan.refit(table)
        if not 0 <= best < len(plan.candidates):
            raise IndexError(f"refit: expected a candidate's index, got {best}")
        return replace(results, best_index_=int(best), best_params_=table["params"][best])
    metric = plan.refit if plan.is_multimetric else "score"
    best = int(table[f"rank_test_{metric}"].argmin())
    return replace(
        results,
        best_index_=best,
        best_params_=table["params"][best],
        best_score_=float(table[f"mean_test_{metric}"][best]),
    )


def refit(plan: SearchPlan, results: SearchResults, instead: tuple[Any, Any] | None = None) -> Any:
    """The best candidate's estimator, fitted on all rows.

    Parameters
    ----------
    plan, results
        Of the search.
    instead : tuple of (X, y), optional
        What to fit it on, where the search had only a sample of that.

    Raises
    ------
    ValueError
        If the search chose no best candidate (several scorers, ``refit=False``).
    """
    if results.best_index_ is None:
        raise ValueError("refit: expected a search with a best candidate, got refit=False")
    X, y = instead or (plan.X, plan.y)
    return plan.build(results.best_index_).fit(X, y)


def held_out_answers(
    plan: SearchPlan, results: SearchResults, store: Mapping[str, bytes]
) -> list[tuple[np.ndarray, Outcome]]:
    """What the best candidate answered on each fold: the rows held out, and the answers.

    Raises
    ------
    LookupError
        If a fit of the best candidate is missing or failed.
    """
    answers = []
    for fold, (_, rows) in enumerate(plan.folds):
        outcome = decode(store.get(plan.key(results.best_index_ or 0, fold)))
        if outcome is None or outcome.error:
            raise LookupError(f"expected the best candidate's fit on fold {fold}, found none")
        answers.append((rows, outcome))
    return answers
