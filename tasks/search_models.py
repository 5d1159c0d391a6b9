"""Search the models of comments: the notebook's two networks, what they have to beat, better ones.

Scikit-learn's network is the notebook's Part 1, the Keras network its Part 2; both are searched a
fold a task. The notebook lacks the constant answer, the linear models and the improved networks.
"""

from pathlib import Path
from typing import Any

from neural_classifiers.comments.models.grids import (
    CONSTANT_GRID,
    PROBE_GRID,
    Grid,
    Method,
    Scoring,
)
from neural_classifiers.engine.folder_store import FolderStore, unfinished
from neural_classifiers.engine.step import step
from neural_classifiers.judgement.names import LINEAR_RAW, PRETRAINED, PROBE
from tasks.encode_work import load_encoder
from tasks.model_files import add_seconds, save_keras_pipeline, save_pretrained
from tasks.references import Encoded, Fits, Model, SearchSample, Split
from tasks.search_work import (
    ENCODER_LIBRARIES,
    KERAS_LIBRARIES,
    Search,
    choose_model,
    fit_fold,
    search_at_once,
)


@step(threads=1, attempts=3, task_run_name="fit_scikit-{fold}")
def fit_scikit(
    split: Split | SearchSample, grid: Grid, fold: int, folds: int, seed: int, folder: Path
) -> Fits:
    """Fit every candidate of scikit-learn's network on one fold, those that cannot differ once.

    Parameters
    ----------
    split : Split or SearchSample
        The training comments, or those of them to search on.
    grid : dict of str to list
        Values to try of each parameter.
    fold : int
        Which one, from 0.
    folds : int
        Of the stratified cross-validation, at least 2.
    seed : int
        Of the networks.
    folder : Path
    """
    return fit_fold(fit_scikit, _scikit(split, grid, folds, seed), fold, folder)


@step(threads=1, attempts=3, task_run_name="fit_keras-{fold}")
def fit_keras(
    split: Split | SearchSample, grid: Grid, fold: int, folds: int, seed: int, folder: Path
) -> Fits:
    """Fit every candidate of the Keras network on one fold: one training for all epoch counts.

    Parameters
    ----------
    split, grid, fold, folds, seed, folder
        As for `fit_scikit`.
    """
    return fit_fold(fit_keras, _keras(split, grid, folds, seed), fold, folder)


@step(threads=1, attempts=3)
def search_scikit(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    fits: list[Fits],
    scoring: Scoring,
    method: Method,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose the best scikit-learn network over the folds, fitted on the whole training set.

    Parameters
    ----------
    split : Split
    grid, folds, seed
        As for `fit_scikit`.
    fits : list of Fits
        One of each fold; none for successive halving, which makes its own.
    scoring : str
        scikit-learn's name of the score that chooses.
    method : {"grid", "halving"}
    search_sample : SearchSample or None
        The comments that the fits were made on; None: all training comments.
    folder : Path
    """
    search = _scikit(split, grid, folds, seed, scoring=scoring, search_sample=search_sample)
    return choose_model(search_scikit, search, method, fits, folder)


@step(threads=1, attempts=3)
def search_keras(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    fits: list[Fits],
    scoring: Scoring,
    method: Method,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose the best Keras network over the folds, fitted on the whole training set.

    Parameters
    ----------
    split, grid, folds, seed, fits, scoring, method, search_sample, folder
        As for `search_scikit`.
    """
    search = _keras(split, grid, folds, seed, scoring=scoring, search_sample=search_sample)
    return choose_model(search_keras, search, method, fits, folder)


@step(threads=1)
def search_scikit_improved(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose a scikit-learn network made for unequal classes by macro-F1, and calibrate it.

    Parameters
    ----------
    split, grid, folds, seed, search_sample, folder
        As for `search_scikit`.
    """
    from neural_classifiers.comments.models.pipelines import improved_scikit_pipeline

    search = Search(
        name="scikit_improved",
        pipeline=improved_scikit_pipeline(seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring="f1_macro",
        is_calibrated=True,
        search_sample=search_sample,
    )
    return search_at_once(search, folder)


@step(threads=1)
def search_keras_improved(
    split: Split,
    grid: Grid,
    folds: int,
    seed: int,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose a Keras network made for unequal classes by macro-F1, and calibrate it.

    Parameters
    ----------
    split, grid, folds, seed, search_sample, folder
        As for `search_scikit`.
    """
    from neural_classifiers.arrays.threads import set_tensorflow_threads
    from neural_classifiers.comments.models.pipelines import improved_keras_pipeline

    set_tensorflow_threads(1)

    search = Search(
        name="keras_improved",
        pipeline=improved_keras_pipeline(seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring="f1_macro",
        is_calibrated=True,
        search_sample=search_sample,
        save=save_keras_pipeline,
        libraries=KERAS_LIBRARIES,
    )
    return search_at_once(search, folder)


@step(threads=1)
def fit_constant(
    split: Split, folds: int, seed: int, search_sample: SearchSample | None, folder: Path
) -> Model:
    """Fit the constant answer: the commonest category, regardless of the comment.

    Parameters
    ----------
    split, folds, seed, search_sample, folder
        As for `search_scikit`.
    """
    from neural_classifiers.comments.models.pipelines import constant_pipeline

    search = Search(
        name="constant",
        pipeline=constant_pipeline(),
        grid=CONSTANT_GRID,
        split=split,
        folds=folds,
        seed=seed,
        search_sample=search_sample,
    )
    return search_at_once(search, folder)


@step(threads=1, task_run_name="search_{name}")
def search_linear(
    name: str,
    split: Split,
    folds: int,
    seed: int,
    scoring: Scoring,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose the best of the linear models, over words and n-grams of characters; calibrate it.

    Parameters
    ----------
    name : str
        Of the model: ``linear``, ``linear_improved``, or ``linear_raw`` on texts as they came.
    split, folds, seed, scoring, search_sample, folder
        As for `search_scikit`.
    """
    from neural_classifiers.comments.models.pipelines import linear_grid, linear_pipeline

    search = Search(
        name=name,
        pipeline=linear_pipeline(is_raw=name == LINEAR_RAW),
        grid=linear_grid(),
        split=split,
        folds=folds,
        seed=seed,
        scoring=scoring,
        is_calibrated=True,
        search_sample=search_sample,
        text="txt" if name == LINEAR_RAW else "clean",
    )
    return search_at_once(search, folder)


@step(threads=1, attempts=3)
def search_pretrained(
    split: Split,
    encoded: Encoded,
    grid: Grid,
    folds: int,
    seed: int,
    scoring: Scoring,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose how many blocks of the encoder are fine-tuned, on texts as they came; calibrate.

    A kill costs at most an epoch of the fine-tuning under way.

    Parameters
    ----------
    split, grid, folds, seed, scoring, search_sample, folder
        As for `search_scikit`.
    encoded : Encoded
        The encoder, and the vectors of the comments.
    """
    from neural_classifiers.arrays.threads import set_tensorflow_threads
    from neural_classifiers.comments.models.pretrained import pretrained_pipeline

    set_tensorflow_threads(1)
    encoder = load_encoder(encoded)
    encoder.checkpoints = FolderStore(unfinished(folder))
    search = Search(
        name=PRETRAINED,
        pipeline=pretrained_pipeline(encoder, seed),
        grid=grid,
        split=split,
        folds=folds,
        seed=seed,
        scoring=scoring,
        is_calibrated=True,
        search_sample=search_sample,
        save=save_pretrained,
        libraries=ENCODER_LIBRARIES,
        text="txt",
        features=encoder.tokens,
        encoder=encoded.encoder,
    )
    add_seconds(folder, [encoded.vectors])
    return search_at_once(search, folder, search_pretrained)


@step(threads=1)
def search_probe(
    split: Split,
    encoded: Encoded,
    folds: int,
    seed: int,
    scoring: Scoring,
    search_sample: SearchSample | None,
    folder: Path,
) -> Model:
    """Choose the best logistic regression over an encoder's vectors as they are; calibrate it.

    Parameters
    ----------
    split, folds, seed, scoring, search_sample, folder
        As for `search_scikit`.
    encoded : Encoded
        The encoder, and the vectors of the comments.
    """
    from neural_classifiers.arrays.threads import set_tensorflow_threads
    from neural_classifiers.comments.models.pipelines import probe_pipeline

    set_tensorflow_threads(1)
    search = Search(
        name=PROBE,
        pipeline=probe_pipeline(),
        grid=PROBE_GRID,
        split=split,
        folds=folds,
        seed=seed,
        scoring=scoring,
        is_calibrated=True,
        search_sample=search_sample,
        libraries=ENCODER_LIBRARIES,
        text="txt",
        features=load_encoder(encoded).encode,
        encoder=encoded.encoder,
    )
    add_seconds(folder, [encoded.vectors])
    return search_at_once(search, folder)


def _scikit(
    split: Split | SearchSample, grid: Grid, folds: int, seed: int, **options: Any
) -> Search:
    from neural_classifiers.comments.models.pipelines import scikit_pipeline

    return Search("scikit", scikit_pipeline(seed), grid, split, folds, seed, **options)


def _keras(
    split: Split | SearchSample, grid: Grid, folds: int, seed: int, **options: Any
) -> Search:
    from neural_classifiers.arrays.threads import set_tensorflow_threads
    from neural_classifiers.comments.models.pipelines import keras_pipeline

    set_tensorflow_threads(1)
    options |= {"save": save_keras_pipeline, "libraries": KERAS_LIBRARIES}
    return Search("keras", keras_pipeline(seed), grid, split, folds, seed, **options)
