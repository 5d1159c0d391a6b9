"""Promote the best model of a run, where nothing speaks against it; say what does."""

from dataclasses import asdict

from prefect import get_run_logger, task

from neural_classifiers.engine import history, runs
from neural_classifiers.engine.artifacts import show_table
from neural_classifiers.engine.files import as_json, write_durably
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.serving.model import COMMENTS, DIGITS
from neural_classifiers.serving.promotion import Decision, decide, in_words
from tasks.references import Compared
from tasks.run_models import NothingToPromoteError, comment_models, digit_models

DECISIONS = "promotion.json"  # in the run's folder


@task(task_run_name="promote_best", **UNRECORDED)
def promote_best(compared: Compared | None) -> str | None:
    """Let the best comment model of this run serve, if it may; a refusal is no failure.

    Returns
    -------
    str or None
        The version that serves from now on.
    """
    folder = runs.run_folder()
    decisions = promote(history.Run.of(folder), kind=COMMENTS, again=False)
    write_durably(folder / DECISIONS, as_json(list(map(asdict, decisions))))
    rows = [{"model": each.model} | asdict(gate) for each in decisions for gate in each.gates]
    show_table(rows, key="promotion", description="What spoke for and against")
    for decision in decisions:
        get_run_logger().info("%s", in_words(decision))
    return decisions[-1].version


def promote(
    run: history.Run,
    name: str | None = None,
    kind: str | None = None,
    again: bool = True,
    other_classes: bool = False,
) -> list[Decision]:
    """Let a model of a run serve, unless something speaks against it; of each kind that it has.

    Parameters
    ----------
    run : Run
    name : str, optional
        Of the model. By default the one that the training rows choose (comments: the cheapest not
        shown worse than the best in cross-validation; digits: the best on the validation images)
        and, where that is refused, the best linear one.
    kind : str, optional
        "comments" or "digits"; by default whichever the run has.
    again : bool
        Also a model that was rolled back.
    other_classes : bool
        Also where the serving model sorts into other categories, so cannot be compared.

    Returns
    -------
    list of Decision
        Of each model that was tried; at most the last of each kind was promoted.

    Raises
    ------
    NothingToPromoteError
        If the run has no such model, or its records are gone.
    """
    read = {COMMENTS: comment_models, DIGITS: digit_models}
    models = [read[each](run) for each in ([kind] if kind else read)]
    known = [each for of_kind in models for each in of_kind.names]
    if not known or name not in (None, *known):
        what = f"a model called {name!r}" if name else "a model"
        raise NothingToPromoteError(f"{run.folder}: expected {what}, got {known}")
    decisions = []
    for of_kind in models:
        for each in of_kind.best if name is None else {name}.intersection(of_kind.names):
            decisions.append(decide(of_kind.challenger(each), again, other_classes))
            if decisions[-1].version:
                break
    return decisions
