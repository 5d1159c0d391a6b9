"""Search a grid: a fold's fits as one record, and the choice among the fits of all folds.

Each fit is stored at once as one small file under ``artifacts/cache/.fits``, so that a kill costs
only the fits under way and a grid that grows pays for its new candidates only. When a fold is
complete, its fits go together into the record of the step.
"""

import functools
import importlib.metadata
import json
import math
import platform
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import Task

from neural_classifiers.comments.models.grids import Grid, Method
from neural_classifiers.engine import paths, progress
from neural_classifiers.engine.folder_store import FolderStore, fits_namespace
from neural_classifiers.engine.records import FITS, File
from neural_classifiers.engine.settings import read_settings
from neural_classifiers.engine.step import body_of, key_of
from neural_classifiers.errors import ParameterError
from tasks.model_files import add_seconds, save_pipeline, write_grid, write_seconds
from tasks.references import (
    Fits,
    Model,
    PretrainedEncoder,
    SearchSample,
    Split,
    Text,
    read_comments,
)

if TYPE_CHECKING:
    from neural_classifiers.judgement.held_out import HeldOut
    from neural_classifiers.search.fits import FinishedFit, FitCounts
    from neural_classifiers.search.plan import SearchPlan
    from neural_classifiers.search.results import SearchResults

Save = Callable[[Path, Any, dict[str, Any]], tuple[File, File | None, File]]
SCIKIT_LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")
KERAS_LIBRARIES = (*SCIKIT_LIBRARIES, "tensorflow", "keras", "scikeras")
ENCODER_LIBRARIES = (*SCIKIT_LIBRARIES, "tensorflow", "keras", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Search:
    """A search on the training set, or on a sample of it, whose choice is fitted on all of it.

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
        Those whose versions the model's recipe names.
    text : str
        The column of the comments that the model takes: ``clean``, or ``txt``, as they came.
    features : callable
        What the pipeline is fitted on, of texts; of what comes before it in the saved model.
    encoder : PretrainedEncoder or None
        That `features` uses.
    began : float
        Processor seconds of this process by then.
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
    text: Text = "clean"
    features: Callable[[list[str]], Any] = list
    encoder: PretrainedEncoder | None = None
    began: float = field(default_factory=time.process_time)

    def read(self, file: File) -> tuple[Any, list[str]]:
        """What the pipeline is fitted on, and the categories, of one table of comments."""
        comments = read_comments(file, self.text)
        return self.features(comments.X), comments.y

    def plan(self, namespace: str = "") -> "SearchPlan":
        """The plan of the search; what is wrong with the grid is an error here."""
        from neural_classifiers.judgement.calibration import shifted_f1_macro
        from neural_classifiers.search.plan import plan_search

        X, y = self.read(self.searched)
        return plan_search(
            self.pipeline,
            self.grid,
            X,
            y,
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
        """True if answers are shifted towards rare classes."""
        return self.is_calibrated and self.scoring == "f1_macro"


def fit_fold(step: Task[..., Any], search: Search, fold: int, folder: Path) -> Fits:
    """Make the fits of one fold (from 0) that are missing, each durable at once.

    Parameters
    ----------
    step : Task
        Whose code the fits belong to.
    search : Search
    fold : int
    folder : Path
        For the fits as one table.
    """
    from neural_classifiers.search.answers import without_times

    plan, store = _plan_and_store(step, search)
    _fit(plan, store, n_parts=search.folds, folds=[fold])
    answers, seconds = {}, {}
    for candidate in plan.distinct:
        name = plan.identities[candidate]
        answers[name], seconds[name] = without_times(store[plan.key(candidate, fold)])
    path = folder / "fits.parquet"
    table = pd.DataFrame({"candidate": list(answers), "answer": list(answers.values())})
    table.to_parquet(path, index=False)
    path.with_name("timing.fits.json").write_text(json.dumps(seconds))
    write_seconds(folder, time.process_time() - search.began)
    return Fits(
        fits=File.of(path),
        fold=fold,
        candidates=len(plan.candidates),
        distinct=len(plan.distinct),
        trainings=len(plan.trainings),
    )


def choose_model(
    step: Task[..., Any], search: Search, method: Method, fits: Sequence[Fits], folder: Path
) -> Model:
    """Choose the best candidate over all folds, and fit it on the whole training set.

    Parameters
    ----------
    step : Task
        Whose code the fits of successive halving belong to.
    search : Search
    method : {"grid", "halving"}
        Halving makes its own fits, each durable at once, all in this step.
    fits : sequence of Fits
        Of each fold, for the grid.
    folder : Path
        For the model and the table of its grid.
    """
    from neural_classifiers.judgement.held_out import hold_out
    from neural_classifiers.search.halving import halve
    from neural_classifiers.search.results import collect, held_out_answers

    if method == "halving":
        plan, durable = _plan_and_store(step, search)
        results = halve(plan, durable, seed=search.seed, fit=_fit)
        # its last fits may leave rows unanswered: the winner answers them all, as in the grid
        alone = {name: [value] for name, value in results.best_params_.items()}
        winner = replace(search, grid=alone).plan(plan.namespace)
        _fit(winner, durable)
        answers = held_out_answers(winner, 0, durable)
    else:
        plan = search.plan()
        store = _read_fits(plan, fits)
        results = collect(plan, store)
        answers = held_out_answers(plan, results.best_index_, store)
    _refuse_without_score(search, results)
    add_seconds(folder, [each.fits for each in fits])
    return _write_model(search, plan, results, folder, hold_out(plan.y, answers))


def search_at_once(search: Search, folder: Path, step: Task[..., Any] | None = None) -> Model:
    """Make the fits of all folds and choose, in one step.

    Parameters
    ----------
    search : Search
    folder : Path
        For the model and the table of its grid.
    step : Task, optional
        Whose code the fits belong to: each is then durable at once. Searches of seconds go without.
    """
    from neural_classifiers.judgement.held_out import (
        calibrate_held_out,
        calibrate_on_a_fold,
        hold_out,
    )
    from neural_classifiers.search.fits import fit
    from neural_classifiers.search.results import collect, held_out_answers

    store: MutableMapping[str, bytes] = {}
    if step:
        plan, store = _plan_and_store(step, search)
        _fit(plan, store)
    else:
        plan = search.plan()
        fit(plan, store, on_fit=_report_progress)
    results = collect(plan, store)
    _refuse_without_score(search, results)
    answers = held_out_answers(plan, results.best_index_, store)
    if not search.is_calibrated:
        return _write_model(search, plan, results, folder, hold_out(plan.y, answers))
    held_out = calibrate_held_out(plan.y, answers, search.is_shifted)
    if search.search_sample:
        _report_final(search, 0)
        every, best = search.read(search.split.train), plan.build(results.best_index_)
        of_all = calibrate_on_a_fold(best, *every, search.folds, search.is_shifted)
        held_out = held_out._replace(temperature=of_all.temperature, offsets=of_all.offsets)
    return _write_model(search, plan, results, folder, held_out)


def _refuse_without_score(search: Search, results: "SearchResults") -> None:
    """Raise where no candidate has a score on every fold, of which scikit-learn only warns."""
    if not math.isfinite(results.best_score_):
        errors = results.cv_results_["error"]
        raise ParameterError(
            f"{search.name}: expected a candidate with a score on every fold, got none of "
            f"{len(errors)}; the first error: {next(filter(None, errors), 'none')}"
        )


def _plan_and_store(step: Task[..., Any], search: Search) -> "tuple[SearchPlan, FolderStore]":
    namespace = fits_namespace(key_of(body_of(step), {}), search.searched)
    return search.plan(namespace), FolderStore(paths.cache() / FITS / namespace)


def _fit(
    plan: "SearchPlan",
    store: MutableMapping[str, bytes],
    n_parts: int = 1,
    folds: Sequence[int] | None = None,
) -> "FitCounts":
    """Make missing fits here, or by the workers of the Dask cluster that the settings name."""
    from neural_classifiers.search.executors import dask_workers
    from neural_classifiers.search.fits import fit

    on_fit = functools.partial(_report_progress, n_parts=n_parts)
    if (address := read_settings().dask) is None:
        return fit(plan, store, folds=folds, on_fit=on_fit)
    with dask_workers(address) as (executor, n_workers):
        return fit(plan, store, executor, n_workers=n_workers, folds=folds, on_fit=on_fit)


def _report_progress(finished: "FinishedFit", n_parts: int = 1) -> None:
    progress.report(finished.done, finished.total, "fits", finished.best_score, parts=n_parts)


def _report_final(search: Search, done: int) -> None:
    """Report how many fits on all comments are done, where the search was on fewer."""
    if search.search_sample:
        unit = f"fits on all {search.split.rows_train:,} training comments"
        progress.report(done, 2 if search.is_calibrated else 1, unit)


def _write_model(
    search: Search,
    plan: "SearchPlan",
    results: "SearchResults",
    folder: Path,
    held_out: "HeldOut",
) -> Model:
    """Fit the chosen candidate on the training set; write it with its recipe and its grid."""
    from neural_classifiers.comments.models.pipelines import in_names
    from neural_classifiers.search.results import refit

    every = search.read(search.split.train) if search.search_sample else None
    n_fits = 0 if held_out.temperature is None else 1  # on all comments, until now
    _report_final(search, n_fits)
    fitted = refit(plan, results, every)
    _report_final(search, n_fits + 1)
    score = results.best_score_
    if held_out.temperature is not None:
        from neural_classifiers.judgement.calibration import Calibrated

        name, classifier = fitted.steps[-1]
        calibrated = Calibrated(classifier, held_out.temperature, held_out.offsets)
        fitted.steps[-1] = (name, calibrated)
        score = score if held_out.f1_macro is None else held_out.f1_macro
    best = {name.split("__")[-1]: in_names(v) for name, v in results.best_params_.items()}
    recipe = {
        "model": search.name,
        "best_params": best,
        "best_cv_score": score,
        "scoring": search.scoring,
        "temperature": held_out.temperature,
        "offsets": held_out.offsets,
        "folds": search.folds,
        "seed": search.seed,
        "training_file_sha256": search.split.train.sha256,
        "training_rows": search.split.rows_train,
        "text": search.text,
        "encoder": search.encoder and search.encoder.about(),
        "searched_rows": len(plan.y),
        "libraries": {name: importlib.metadata.version(name) for name in search.libraries},
        "python": platform.python_version(),
    }
    held_out.table.to_parquet(folder / "held_out.parquet", index=False)
    pipeline, weights, recipe_file = search.save(folder, fitted, recipe)
    write_seconds(folder, time.process_time() - search.began)
    return Model(
        name=search.name,
        pipeline=pipeline,
        weights=weights,
        recipe=recipe_file,
        grid=write_grid(folder, results),
        best_params=best,
        best_cv_score=score,
        scoring=search.scoring,
        temperature=held_out.temperature,
        held_out=File.of(folder / "held_out.parquet"),
        searched_rows=len(plan.y),
        text=search.text,
        encoder=search.encoder,
    )


def _read_fits(plan: "SearchPlan", fits: Sequence[Fits]) -> dict[str, bytes]:
    """The fits under the names by which the plan asks for them."""
    from neural_classifiers.search.answers import with_times

    store: dict[str, bytes] = {}
    for fold in fits:
        table = pd.read_parquet(fold.fits.path)
        times = fold.fits.path.with_name("timing.fits.json")
        seconds = json.loads(times.read_text()) if times.is_file() else {}
        answers = dict(zip(table["candidate"], table["answer"], strict=True))
        for candidate in plan.distinct:
            name = plan.identities[candidate]
            if name in answers:
                answer = with_times(answers[name], seconds.get(name, (0.0, 0.0)))
                store[plan.key(candidate, fold.fold)] = answer
    return store
