"""What the searches share: a fold's fits as one record, and the choice among all of them.

Each fit is kept at once as one small file under ``artifacts/cache/.fits``, so that a kill costs
only the fits under way and a grid that grows pays for its new candidates only. When a fold is
complete, its fits go together into the record of the step.
"""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from prefect import Task

from neural_classifiers.comments.models.grids import Grid
from neural_classifiers.engine import paths, progress
from neural_classifiers.engine.folder_store import FITS, FolderStore, fits_namespace
from neural_classifiers.engine.records import File
from neural_classifiers.engine.step import body_of, key_of
from neural_classifiers.judgement.held_out import HeldOut, _held_out
from tasks.model_files import save_pipeline
from tasks.references import Fits, Model, SearchSample, Split, read_comments

if TYPE_CHECKING:
    from neural_classifiers.search.fits import FinishedFit, Share
    from neural_classifiers.search.plan import SearchPlan, SearchResults

Save = Callable[[Path, Any, dict[str, Any]], tuple[File, File | None, File]]
SCIKIT_LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")
KERAS_LIBRARIES = (*SCIKIT_LIBRARIES, "tensorflow", "keras", "scikeras")

DASK = "NEURAL_CLASSIFIERS_DASK"
"""Variable that names a Dask scheduler, whose workers then make the fits of the folds."""


@dataclass(frozen=True)
class Search:
    """A search on the training set, or on a sample of it; what it finds is fitted on all of it.

    Attributes
    ----------
    name : str
        Of the model.
    pipeline : Pipeline
        Unfitted.
    grid : dict of str to list
    split : Split or SearchSample
        For the fits of a fold the comments searched on; for a whole search the split.
    folds, seed : int
    scoring : str
        scikit-learn's name of the score that chooses.
    is_calibrated : bool
        Whether a temperature, fitted on the answers for the rows held out, makes the
        probabilities mean what they say; of searches at once. If macro-F1 chooses, the answers
        are shifted towards rare classes too, and candidates are judged by shifted answers.
        With a sample both are learnt on a fold of all training comments, held out from one more
        fit.
    search_sample : SearchSample or None
        The comments to search on; all training comments where there is none.
    save : callable
        Writes a fitted pipeline. A parameter, so that only the search of the Keras network
        reaches TensorFlow and runs again with another version of it.
    libraries : tuple of str
        Those whose versions the model's card tells.
    """

    name: str
    pipeline: Any
    grid: Grid | list[Grid]
    split: Split | SearchSample
    folds: int
    seed: int
    scoring: str = "accuracy"
    is_calibrated: bool = False
    search_sample: SearchSample | None = None
    save: Save = save_pipeline
    libraries: tuple[str, ...] = SCIKIT_LIBRARIES

    def plan(self, namespace: str = "") -> "SearchPlan":
        """What can be known before the first fit; whatever is wrong with the grid is told here."""
        from neural_classifiers.judgement.calibration import shifted_f1_macro
        from neural_classifiers.search.plan import plan_search

        comments = read_comments(self.searched)
        return plan_search(
            self.pipeline,
            self.grid,
            comments.X,
            comments.y,
            namespace=namespace,
            cv=self.folds,
            scoring=shifted_f1_macro if self.is_shifted else self.scoring,
        )

    @property
    def searched(self) -> File:
        """The table of the comments that candidates are tried on."""
        return (self.search_sample or self.split).train

    @property
    def is_shifted(self) -> bool:
        """Whether answers are shifted towards rare classes."""
        return self.is_calibrated and self.scoring == "f1_macro"


def fit_fold(step: Task[..., Any], wanted: Search, fold: int, folder: Path) -> Fits:
    """The fits of one fold: those that are missing are made, each durable at once."""
    from neural_classifiers.search.answers import without_times

    plan, store = _plan_and_store(step, wanted)
    _fit(plan, store, wanted.folds, [fold])
    answers, seconds = {}, {}
    for candidate in plan.distinct:
        name = plan.identities[candidate]
        answers[name], seconds[name] = without_times(store[plan.key(candidate, fold)])
    path = folder / "fits.parquet"
    table = pd.DataFrame({"candidate": list(answers), "answer": list(answers.values())})
    table.to_parquet(path, index=False)
    path.with_name("timing.fits.json").write_text(json.dumps(seconds))
    return Fits(
        fits=File.of(path),
        fold=fold,
        candidates=len(plan.candidates),
        distinct=len(plan.distinct),
        trainings=len(plan.trainings),
    )


def choose_model(wanted: Search, fits: Sequence[Fits], folder: Path) -> Model:
    """The best candidate over all folds, fitted on the whole training set, and the grid's table."""
    from neural_classifiers.search.results import collect

    plan = wanted.plan()
    return keep_model(wanted, plan, collect(plan, _read_fits(plan, fits)), folder)


def choose_by_halving(step: Task[..., Any], wanted: Search, folder: Path) -> Model:
    """As `choose_model`, by successive halving: each fit durable at once, all in this step."""
    from neural_classifiers.search.halving import halve

    plan, store = _plan_and_store(step, wanted)
    halved = halve(
        wanted.pipeline,
        wanted.grid,
        plan.X,
        plan.y,
        store,
        namespace=plan.namespace,
        cv=wanted.folds,
        scoring=wanted.scoring,
        seed=wanted.seed,
        fit=_fit,
    )
    return keep_model(wanted, halved.plan, halved.results, folder)


def search_at_once(wanted: Search, folder: Path) -> Model:
    """As a fold after the other and `choose_model`, for searches of seconds."""
    from neural_classifiers.search.fits import fit_share
    from neural_classifiers.search.results import collect, held_out_answers

    plan = wanted.plan()
    store: dict[str, bytes] = {}
    fit_share(plan, store, on_fit=_tell_progress)
    results = collect(plan, store)
    if not wanted.is_calibrated:
        return keep_model(wanted, plan, results, folder)
    answers = held_out_answers(plan, results, store)
    held_out = _held_out(plan.y, answers, wanted.is_shifted)
    if wanted.search_sample:
        of_all = _held_out_of_all(wanted, plan.candidates[results.best_index_ or 0])
        held_out = held_out._replace(temperature=of_all.temperature, offsets=of_all.offsets)
    return keep_model(wanted, plan, results, folder, held_out)


def _held_out_of_all(wanted: Search, candidate: Mapping[str, Any]) -> HeldOut:
    """What the chosen candidate, fitted on all training rows but a fold, says of that fold.

    What makes the answers of a model of 3,000 comments right misleads those of 100,000: it knows
    more, so it has less to gain from a shift.
    """
    from sklearn.model_selection import StratifiedKFold

    from neural_classifiers.search.fits import fit_share
    from neural_classifiers.search.plan import plan_search
    from neural_classifiers.search.results import collect, held_out_answers

    _tell_final(wanted, 0)
    every = read_comments(wanted.split.train)
    fold = next(StratifiedKFold(wanted.folds).split(every.X, every.y))
    grid = {name: [value] for name, value in candidate.items()}
    plan = plan_search(wanted.pipeline, grid, every.X, every.y, namespace="", cv=[fold])
    store: dict[str, bytes] = {}
    fit_share(plan, store)
    [(rows, answer)] = held_out_answers(plan, collect(plan, store), store)
    return _held_out(plan.y[rows], [(np.arange(len(rows)), answer)], wanted.is_shifted)


def _plan_and_store(step: Task[..., Any], wanted: Search) -> "tuple[SearchPlan, FolderStore]":
    namespace = fits_namespace(key_of(body_of(step), {}), wanted.searched)
    return wanted.plan(namespace), FolderStore(paths.cache() / FITS / namespace)


def _fit(
    plan: "SearchPlan",
    store: MutableMapping[str, bytes],
    parts: int = 1,
    folds: Sequence[int] | None = None,
) -> "Share":
    """The missing fits, made here or by the Dask workers that the variable `DASK` names."""
    from neural_classifiers.search import parallel
    from neural_classifiers.search.fits import FinishedFit, fit_share

    def on_fit(fit: FinishedFit) -> None:
        _tell_progress(fit, parts)

    if address := os.environ.get(DASK):
        return parallel.fit(plan, store, workers=address, folds=folds, on_fit=on_fit)
    return fit_share(plan, store, folds=folds, on_fit=on_fit)


def _tell_progress(fit: "FinishedFit", parts: int = 1) -> None:
    now = fit.progress
    progress.report(now.done, now.total, "fits", now.best_score, parts=parts)


def _tell_final(wanted: Search, done: int) -> None:
    """Say how many fits on all comments are done, where the search was on fewer."""
    if wanted.search_sample:
        unit = f"fits on all {wanted.split.rows_train:,} training comments"
        progress.report(done, 2 if wanted.is_calibrated else 1, unit)


def keep_model(
    wanted: Search,
    plan: "SearchPlan",
    results: "SearchResults",
    folder: Path,
    held_out: HeldOut | None = None,
) -> Model:
    """Write the chosen model, its card, the table of its grid and the grid's figures."""
    from neural_classifiers.comments.models.pipelines import in_names
    from neural_classifiers.report.plots import plot_grid, plot_grid_effects
    from neural_classifiers.search.plan import refit

    every = read_comments(wanted.split.train) if wanted.search_sample else None
    _tell_final(wanted, 1 if held_out else 0)
    fitted = refit(plan, results, every)
    _tell_final(wanted, 2 if held_out else 1)
    if held_out:
        from neural_classifiers.judgement.calibration import Calibrated

        name, classifier = fitted.steps[-1]
        calibrated = Calibrated(classifier, held_out.temperature, held_out.offsets)
        fitted.steps[-1] = (name, calibrated)
        held_out.table.to_parquet(folder / "held_out.parquet", index=False)
    cv_results = _columns({**results.cv_results_, "fitted_as": list(plan.same_as)})
    table = pd.DataFrame(cv_results)
    is_time = table.columns.str.endswith("_time")
    table.loc[:, ~is_time].to_parquet(folder / "grid.parquet", index=False)
    table.loc[:, is_time].to_parquet(folder / "timing.grid.parquet", index=False)
    figures = {}
    if len(plan.candidates) > 1:
        for figure, plot in (("grid", plot_grid), ("effects", plot_grid_effects)):
            path = folder / f"{figure}.png"
            path.write_bytes(plot(cv_results))
            figures[figure] = File.of(path)
    best = {name.split("__")[-1]: in_names(v) for name, v in (results.best_params_ or {}).items()}
    score = results.best_score_
    if held_out and held_out.f1_macro is not None:
        score = held_out.f1_macro
    card = {
        "model": wanted.name,
        "best_params": best,
        "best_cv_score": score,
        "scoring": wanted.scoring,
        "temperature": held_out and held_out.temperature,
        "offsets": held_out and held_out.offsets,
        "folds": wanted.folds,
        "seed": wanted.seed,
        "training_file_sha256": wanted.split.train.sha256,
        "training_rows": wanted.split.rows_train,
        "searched_rows": len(plan.y),
        "libraries": {name: importlib.metadata.version(name) for name in wanted.libraries},
        "python": platform.python_version(),
    }
    pipeline, weights, card_file = wanted.save(folder, fitted, card)
    return Model(
        name=wanted.name,
        pipeline=pipeline,
        weights=weights,
        card=card_file,
        grid=File.of(folder / "grid.parquet"),
        figures=figures,
        best_params=best,
        best_cv_score=score,
        scoring=wanted.scoring,
        temperature=held_out and held_out.temperature,
        held_out=File.of(folder / "held_out.parquet") if held_out else None,
        searched_rows=len(plan.y),
    )


def _read_fits(plan: "SearchPlan", fits: Sequence[Fits]) -> dict[str, bytes]:
    """The fits under the names by which the plan asks for them."""
    from neural_classifiers.search.answers import with_times

    store: dict[str, bytes] = {}
    for share in fits:
        table = pd.read_parquet(share.fits.path)
        times = share.fits.path.with_name("timing.fits.json")
        seconds = json.loads(times.read_text()) if times.is_file() else {}
        answers = dict(zip(table["candidate"], table["answer"], strict=True))
        for candidate in plan.distinct:
            name = plan.identities[candidate]
            if name in answers:
                answer = with_times(answers[name], seconds.get(name, (0.0, 0.0)))
                store[plan.key(candidate, share.fold)] = answer
    return store


def _columns(cv_results: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of ``cv_results_`` as Parquet can hold them: None where there is no parameter."""
    from neural_classifiers.comments.models.pipelines import in_names

    def plain(values: Any) -> list[Any]:
        return [None if value is np.ma.masked else in_names(value) for value in values]

    columns = {name: plain(values) for name, values in cv_results.items() if name != "params"}
    columns["params"] = [
        json.dumps({name: in_names(value) for name, value in params.items()})
        for params in cv_results["params"]
    ]
    return columns
