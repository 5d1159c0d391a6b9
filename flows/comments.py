"""Sort comments by topic: the notebook's Parts 1 and 2 as one flow."""

from prefect import flow
from prefect.states import State

from neural_classifiers.comments.expectations import Categories, LimitChanges
from neural_classifiers.comments.models.grids import (
    KERAS_GRID,
    PRETRAINED_GRID,
    SCIKIT_GRID,
    Grid,
    Improvable,
    Method,
    Scoring,
)
from neural_classifiers.comments.rows import SampleSize
from neural_classifiers.comments.tables import Quoting
from neural_classifiers.comments.text import CleaningChoice
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.form import with_form
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.judgement.names import PRETRAINED, PROBE
from neural_classifiers.values import Count, Folds, Fraction, Seed
from tasks.clean import clean_comments
from tasks.compare import compare_models
from tasks.draw import draw_model
from tasks.encode import encode_comments, keep_encoder
from tasks.explain import examine_training, explain_models
from tasks.ingest import ingest_comments
from tasks.promote import promote_best
from tasks.report import finish, report_comments
from tasks.score import score_model
from tasks.score_serving import find_serving, score_serving
from tasks.search_models import (
    fit_constant,
    fit_keras,
    fit_scikit,
    search_keras,
    search_keras_improved,
    search_linear,
    search_pretrained,
    search_probe,
    search_scikit,
    search_scikit_improved,
)
from tasks.search_sample import check_halving, draw_search_sample
from tasks.sources import fetch_encoder, fetch_source
from tasks.split import find_near_duplicates, split_comments
from tasks.validate import find_last_profile, validate_comments

SEARCH_IMPROVED = {"scikit": search_scikit_improved, "keras": search_keras_improved}
SEED = 34  # notebook, "Load and Clean Comment Data"


@flow(name="classify-comments", **FLOW)
@with_form
def classify_comments(
    source: str = "short-texts",
    sample: SampleSize | None = None,
    categories: Categories | None = None,
    text_column: str = "txt",
    label_column: str = "cat",
    time_column: str | None = None,
    delimiter: str | None = None,
    quoting: Quoting = "auto",
    escape: str | None = None,
    cleaning: CleaningChoice = "default",
    limits: LimitChanges | None = None,
    stop_for_drift: bool = True,
    train_fraction: Fraction = 0.7,  # notebook
    seed: Seed = SEED,
    folds: Folds = 5,  # notebook
    search_sample: Count | None = None,
    scikit_grid: Grid = SCIKIT_GRID,
    keras_grid: Grid = KERAS_GRID,
    encoder: str | None = "minilm",
    pretrained_grid: Grid = PRETRAINED_GRID,
    improved_grids: dict[Improvable, Grid] | None = None,
    scoring: Scoring = "accuracy",
    search: Method = "grid",
    promote: bool = False,
    refresh: list[str] | None = None,
) -> State:
    """Classify comments by topic with two networks and compare them.

    Parameters
    ----------
    source : str
        Name in data/catalog.yaml, or a file, folder or glob of JSON Lines, CSV, TSV or Parquet.
    sample : int or "all", optional
        Comments to draw; by default 3,000, or all if there are fewer.
    categories : list of str, optional
        Known categories; by default the catalogue's, or those the file shows.
    text_column, label_column : str
        Columns (fields) of the source; the catalogue knows those of its own.
    time_column : str, optional
        When each comment was written: then the earliest are the training set.
    delimiter : str, optional
        Of tables; by default the one by which the header has the columns.
    quoting : {"auto", "standard", "none"}
        Whether cells of tables may stand in quotation marks; by default the file tells.
    escape : str, optional
        Of tables: the character before a quotation mark or delimiter that is none.
    cleaning : str or dict
        A preset, "default" or "notebook", or the options that differ from "default".
    limits : dict of str to float, optional
        Bounds of the gate to change, such as ``{"duplicates": 0.6}``.
    stop_for_drift : bool
        Whether comments unlike those of the last run stop this one.
    train_fraction : float
        Share of the comments to learn from; the rest is the test set.
    seed : int
        Of the sample, the split and every network.
    folds : int
        Of the cross-validation.
    search_sample : int, optional
        Training comments to choose parameters on, drawn by class; by default, or if there are
        fewer, all. The chosen models are fitted on all either way.
    scikit_grid, keras_grid : dict of str to list
        Values to try; the notebook's by default.
    encoder : str, optional
        A pretrained encoder to sort raw texts by: name in data/catalog.yaml, or a folder with
        BERT's ``config.json``, ``model.safetensors`` and ``tokenizer.json``; none: without one.
    pretrained_grid : dict of str to list
        How many of the encoder's last blocks are fine-tuned: values to try.
    improved_grids : dict of str to dict of str to list, optional
        The same for improved networks, "scikit" and "keras", and with them an improved linear
        model; by default none. `comments.models.grids.IMPROVED_GRIDS` are those of ``--improved``.
    scoring : str
        scikit-learn's name of the score that chooses; another one trains no candidate again.
    search : {"grid", "halving"}
        Every candidate on all rows, or successive halving: far fewer rows are trained on,
        and the best candidate may be lost.
    promote : bool
        Let the best model serve from now on, if it is shown better than the one that serves.
    refresh : list of str, optional
        Steps to compute again although their records stand.
    """
    raw = fetch_source(source, "comments")
    ingested = ingest_comments(
        raw,
        sample=sample,
        seed=seed,
        text_column=text_column,
        label_column=label_column,
        time_column=time_column,
        delimiter=delimiter,
        quoting=quoting,
        escape=escape,
    )
    accepted = validate_comments(  # a gate
        ingested,
        last=find_last_profile(raw, ingested),
        categories=categories or raw.categories,
        folds=folds,
        limits=limits,
        stop_for_drift=stop_for_drift,
        name=raw.name,
    )
    cleaned = clean_comments(accepted, cleaning)
    split = split_comments(
        cleaned,
        train_fraction=train_fraction,
        seed=seed,
        folds=folds,
        by_time=time_column is not None,
    )
    drawn = (
        draw_search_sample(split, search_sample, seed, folds) if search_sample is not None else None
    )
    if search == "halving":
        check_halving(split, drawn or split, folds)  # a gate

    branches = Branches()  # side by side; one failing never stops another
    near = branches.submit(find_near_duplicates, split, seed)
    rows = {"split": drawn or split, "folds": folds, "seed": seed}
    scikit_fits, keras_fits = [], []  # the notebook's Parts 1 and 2, a task a fold
    for n in range(folds if search == "grid" else 0):  # halving fits within its search
        fold = {**rows, "fold": n}
        scikit_fits.append(branches.submit(fit_scikit, **fold, grid=scikit_grid))
        keras_fits.append(branches.submit(fit_keras, **fold, grid=keras_grid))

    common = {"folds": folds, "seed": seed, "search_sample": drawn}
    chosen_by = {**common, "scoring": scoring, "method": search}
    linear = branches.submit(search_linear, "linear", split, **common, scoring=scoring)
    models = {
        "constant": branches.submit(fit_constant, split, **common),
        "linear": linear,
        "linear_raw": branches.submit(
            search_linear, "linear_raw", split, **common, scoring=scoring
        ),
        "scikit": branches.submit(search_scikit, split, scikit_grid, fits=scikit_fits, **chosen_by),
        "keras": branches.submit(search_keras, split, keras_grid, fits=keras_fits, **chosen_by),
    }
    if improved_grids:  # what a linear model gains by the same means
        models["linear_improved"] = branches.submit(
            search_linear, "linear_improved", split, **common, scoring="f1_macro"
        )
    encoded = None
    if files := fetch_encoder(encoder):  # what cannot be had is left out
        kept = branches.submit(keep_encoder, files)
        encoded = branches.submit(encode_comments, split, kept)
        models[PROBE] = branches.submit(search_probe, split, encoded, **common, scoring=scoring)
        models[PRETRAINED] = branches.submit(
            search_pretrained, split, encoded, pretrained_grid, **common, scoring=scoring
        )
    for name, grid in (improved_grids or {}).items():
        models[f"{name}_improved"] = branches.submit(SEARCH_IMPROVED[name], split, grid, **common)

    scores = {
        name: branches.submit(
            score_model, name, model, split, encoded if name in (PROBE, PRETRAINED) else None
        )
        for name, model in models.items()
    }
    if serving := find_serving(split):  # the version that serves, on texts new to it
        scores["serving"] = branches.submit(score_serving, serving, split)
    examined = branches.submit(examine_training, drawn or split, linear, folds=folds, seed=seed)
    branches.wait()

    trained, scored = branches.succeeded(models), branches.succeeded(scores)
    pictures = {
        name: branches.submit(draw_model, name, trained.get(name), scored.get(name))
        for name in trained | scored
    }
    compared = branches.submit(compare_models, list(scored.values()), trained, seed)
    explained = branches.submit(explain_models, split, trained, scored)
    branches.submit(
        report_comments,
        raw=raw,
        ingested=ingested,
        accepted=accepted,
        cleaned=cleaned,
        split=split,
        models=trained,
        scored=scored,
        drawn=branches.succeeded(pictures),
        compared=branches.result(compared),
        near=branches.result(near),
        examined=branches.result(examined),
        explained=branches.result(explained),
        failed=branches.failures(),
        asked=encoder,
        encoder=files,
    )
    branches.wait()
    if promote and scored:
        branches.submit(promote_best, compared)  # a refusal is no failure
    return finish(branches)  # Failed, naming what failed; else Completed
