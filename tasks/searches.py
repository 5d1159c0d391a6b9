"""What the searches share: a fold's fits as one record, and the choice among all of them.

Each fit is kept at once as one small file under ``artifacts/cache/.fits``, so that a kill costs
only the fits under way and a grid that grows pays for its new candidates only. When a fold is
complete, its fits go together into the record of the step.
"""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import Task

from neural_classifiers.grids import Grid
from tasks import places, progress
from tasks.models import Model, save_pipeline
from tasks.records import File, Reference
from tasks.split import Split, read_comments
from tasks.steps import body_of, key_of
from tasks.stores import FolderStore

if TYPE_CHECKING:
    from neural_classifiers.search import SearchPlan, SearchResults

SCORING = "accuracy"  # the notebook's, by scikit-learn's default for classifiers
_LIBRARIES = ("scikit-learn", "numpy", "scipy", "tensorflow", "keras", "scikeras", "skops")


class Fits(Reference):
    """The fits of a search on one fold: what each candidate answered on the rows held out.

    `fits` is a table of ``candidate`` (digest of its estimator) and ``answer`` (an ``.npz``).
    """

    fits: File
    fold: int
    candidates: int
    distinct: int
    trainings: int

    def in_words(self) -> str:
        """How much work the fold was."""
        return (
            f"fold {self.fold}: {self.candidates} candidates, {self.distinct} of them distinct, "
            f"{self.trainings} trainings"
        )


def plan_search(
    pipeline: Any, grid: Grid, split: Split, folds: int, namespace: str = ""
) -> "SearchPlan":
    """The search on the training set; whatever is wrong with the grid is told here."""
    from neural_classifiers import search

    comments = read_comments(split.train)
    return search.plan(
        pipeline, grid, comments.X, comments.y, namespace=namespace, cv=folds, scoring=SCORING
    )


def fit_fold(
    step: Task[..., Any],
    pipeline: Any,
    grid: Grid,
    split: Split,
    folds: int,
    fold: int,
    folder: Path,
) -> Fits:
    """The fits of one fold: those that are missing are made, each durable at once."""
    from neural_classifiers import search
    from neural_classifiers.outcomes import without_times

    namespace = key_of(body_of(step), {"train": split.train}).digest
    plan = plan_search(pipeline, grid, split, folds, namespace)
    store = FolderStore(places.cache() / ".fits" / namespace)

    def on_fit(fit: search.FinishedFit) -> None:
        now = fit.progress
        progress.tell(now.done, now.total, "fits", now.best_score, parts=folds)

    search.fit_share(plan, store, folds=[fold], on_fit=on_fit)
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


def choose_model(
    name: str,
    pipeline: Any,
    grid: Grid,
    split: Split,
    folds: int,
    seed: int,
    fits: Sequence[Fits],
    folder: Path,
) -> Model:
    """The best candidate over all folds, fitted on the whole training set, and the grid's table."""
    from neural_classifiers import search

    plan = plan_search(pipeline, grid, split, folds)
    results = search.collect(plan, _read_fits(plan, fits))
    return keep_model(name, plan, results, split, folds, seed, folder)


def search_at_once(
    name: str, pipeline: Any, grid: Grid, split: Split, folds: int, seed: int, folder: Path
) -> Model:
    """As a fold after the other and `choose_model`, for searches of seconds."""
    from neural_classifiers import search

    plan = plan_search(pipeline, grid, split, folds)
    store: dict[str, bytes] = {}
    search.fit_share(plan, store)
    return keep_model(name, plan, search.collect(plan, store), split, folds, seed, folder)


def keep_model(
    name: str,
    plan: "SearchPlan",
    results: "SearchResults",
    split: Split,
    folds: int,
    seed: int,
    folder: Path,
) -> Model:
    """Write the chosen model, its card, the table of its grid and the grid's figures."""
    from neural_classifiers import search
    from neural_classifiers.plots import plot_grid, plot_grid_effects

    fitted = search.refit(plan, results)
    cv_results = {**results.cv_results_, "fitted_as": list(plan.same_as)}
    table = pd.DataFrame(_columns(cv_results))
    is_time = table.columns.str.endswith("_time")
    table.loc[:, ~is_time].to_parquet(folder / "grid.parquet", index=False)
    table.loc[:, is_time].to_parquet(folder / "timing.grid.parquet", index=False)
    figures = {}
    if len(plan.candidates) > 1:
        for figure, plot in (("grid", plot_grid), ("effects", plot_grid_effects)):
            path = folder / f"{figure}.png"
            path.write_bytes(plot(cv_results))
            figures[figure] = File.of(path)
    card = {
        "model": name,
        "best_params": results.best_params_,
        "best_cv_score": results.best_score_,
        "scoring": SCORING,
        "folds": folds,
        "seed": seed,
        "training_file_sha256": split.train.sha256,
        "training_rows": split.rows_train,
        "libraries": {library: importlib.metadata.version(library) for library in _LIBRARIES},
        "python": platform.python_version(),
    }
    pipeline, weights, card_file = save_pipeline(folder, fitted, card)
    return Model(
        name=name,
        pipeline=pipeline,
        weights=weights,
        card=card_file,
        grid=File.of(folder / "grid.parquet"),
        figures=figures,
        best_params=dict(results.best_params_ or {}),
        best_cv_score=results.best_score_,
    )


def read_grid(model: Model) -> pd.DataFrame:
    """Every candidate with the columns of ``cv_results_``, the measured times included."""
    table = pd.read_parquet(model.grid.verified())
    times = model.grid.path.with_name("timing.grid.parquet")
    return table.join(pd.read_parquet(times)) if times.is_file() else table


def _read_fits(plan: "SearchPlan", fits: Sequence[Fits]) -> dict[str, bytes]:
    """The fits under the names by which the plan asks for them."""
    from neural_classifiers.outcomes import with_times

    store: dict[str, bytes] = {}
    for share in fits:
        table = pd.read_parquet(share.fits.verified())
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
    """The columns of ``cv_results_`` as Parquet can hold them."""
    columns = {name: list(values) for name, values in cv_results.items() if name != "params"}
    columns["params"] = [json.dumps(params) for params in cv_results["params"]]
    return columns
