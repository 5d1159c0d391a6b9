"""Read handwritten digits: the notebook's Part 3 as one flow."""

from prefect import flow
from prefect.states import State

from neural_classifiers.digits.networks import PRESETS, Presets
from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.form import with_form
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.values import Count, Seed
from tasks.draw import draw_digits
from tasks.ingest_digits import ingest_digits
from tasks.report import finish, report_digits
from tasks.sources import fetch_source
from tasks.train_digits import train_digits

SEED = 34  # the notebook seeds nothing here; the same number as for the comments


@flow(name="classify-digits", **FLOW)
@with_form
def classify_digits(
    source: str = "mnist",
    sample: Count | None = None,
    presets: Presets = PRESETS,
    seed: Seed = SEED,
    seeds: list[Seed] | None = None,
    refresh: list[str] | None = None,
) -> State:
    """Read handwritten digits with the notebook's network and with a faster one.

    Parameters
    ----------
    source : str
        Name in data/catalog.yaml, or a path: a folder with the four IDX files of MNIST's names,
        a folder of PNGs in ten folders named for their labels, or an ``.npz``.
    sample : int, optional
        Training images to draw, the same share of each digit; by default all.
    presets : dict of str to DigitsPreset
        The networks to train, by name, with every value that decides a training.
    seed : int
        Of the validation images, and of the networks unless `seeds` are given.
    seeds : list of int, optional
        One training of each preset for each; the report then tells mean, spread and worst.
    refresh : list of str, optional
        Steps to compute again although their records stand.
    """
    raw = fetch_source(source, "digits")
    digits = ingest_digits(raw, sample, seed)
    branches = Branches()  # one failing never stops another
    training = {
        f"{name}-{each}": branches.submit(train_digits, digits, name=name, preset=preset, seed=each)
        for each in dict.fromkeys(seeds or [seed])
        for name, preset in presets.items()
    }
    trained = branches.succeeded(training)
    drawn = {name: branches.submit(draw_digits, digits, each) for name, each in trained.items()}
    branches.submit(
        report_digits,
        raw=raw,
        digits=digits,
        trained=trained,
        drawn=branches.succeeded(drawn),
        failed=branches.failures(),
    )
    return finish(branches)  # Failed, naming what failed; else Completed
