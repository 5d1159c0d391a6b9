"""Both halves of the notebook, one after the other, in one run with one report."""

from prefect import flow
from prefect.states import State

from flows.comments import SEED, classify_comments
from flows.digits import classify_digits
from neural_classifiers.comments.expectations import Categories
from neural_classifiers.comments.rows import SampleSize
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.form import with_form
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.values import Seed
from tasks.report import finish


@flow(name="train-classifiers", **FLOW)
@with_form
def train_classifiers(
    comments: str = "short-texts",
    digits: str = "mnist",
    sample: SampleSize | None = None,
    categories: Categories | None = None,
    encoder: str | None = "minilm",
    seed: Seed = SEED,
    refresh: list[str] | None = None,
) -> State:
    """Train the notebook's three networks and report on them together.

    Parameters
    ----------
    comments : str
        Name in data/catalog.yaml, or a file, folder or glob of JSON Lines, CSV, TSV or Parquet.
    digits : str
        Name in data/catalog.yaml, or a path: a folder with the four IDX files of MNIST's names,
        a folder of PNGs in ten folders named for their labels, or an ``.npz``.
    sample : int or "all", optional
        Comments to draw; by default 3,000. The digits are always taken whole.
    categories : list of str, optional
        Known categories of the comments.
    encoder : str, optional
        A pretrained encoder of comments: name in data/catalog.yaml, or a folder; none: without.
    seed : int
        Of the samples, the splits and every network.
    refresh : list of str, optional
        Steps to compute again although their records stand.
    """
    branches = Branches()
    branches.run(
        classify_comments,
        source=comments,
        sample=sample,
        categories=categories,
        encoder=encoder,
        seed=seed,
        refresh=refresh,
    )
    branches.run(classify_digits, source=digits, seed=seed, refresh=refresh)
    return finish(branches)
