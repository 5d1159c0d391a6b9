"""Models of a run that may be promoted, read from its records: by hand the next day, or at its end.

The steps of ``run.json`` name the class of their result, so that what a run found is found again
as the references that its steps handed each other.
"""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes
from neural_classifiers.comments.text import cleaning_of
from neural_classifiers.engine import history
from neural_classifiers.engine.records import File, Reference
from neural_classifiers.errors import RefusedError
from neural_classifiers.judgement.choice import HeldOutScores, best_and_cheapest
from neural_classifiers.judgement.gates import Rival
from neural_classifiers.judgement.names import CONSTANT, LINEARS
from neural_classifiers.judgement.weaknesses import slices_of
from neural_classifiers.serving.model import (
    COMMENTS,
    DIGITS,
    EXAMPLES,
    FORMAT,
    PIPELINE,
    PROFILE,
    RECIPE,
    SEEN,
    WEIGHTS,
    examples_to_bytes,
)
from neural_classifiers.serving.promotion import Challenger
from neural_classifiers.serving.trained_on import looks_to_bytes, profile_to_bytes, seen_to_bytes
from tasks.model_files import read_price
from tasks.references import (
    Cleaned,
    Compared,
    Digits,
    Model,
    Scored,
    Split,
    TrainedDigits,
    read_digits,
)

R = TypeVar("R", bound=Reference)


class NothingToPromoteError(RefusedError):
    """A run has no model that could be promoted: says what was expected and what came."""

    code = "NC71"


class RunModels(NamedTuple):
    """The models of one kind that a run has.

    Attributes
    ----------
    names : list of str
        All that may be promoted.
    best : list of str
        Those to try, the best first.
    challenger : callable
        Takes a name; the model with all that promoting it takes.
    """

    names: list[str]
    best: list[str]
    challenger: Callable[[str], Challenger]


def comment_models(run: history.Run) -> RunModels:
    """Models of comments that were judged; what the training rows chose, then the best linear."""
    scored = {each.name: each for each, _ in history.results_of(run, Scored)}
    models = {each.name: each for each, _ in history.results_of(run, Model) if each.name in scored}
    names = sorted(models.keys() - {CONSTANT}) if CONSTANT in scored else []

    linear: list[str] = []
    best: list[str] = []
    if names:
        compared, _ = _last(run, Compared)
        held_out = HeldOutScores.model_validate_json(compared.held_out.verified().read_bytes())
        prices = {n: price for n in names if (price := read_price(models[n], scored[n]))}
        linear = sorted(
            (n for n in names if n in LINEARS), key=held_out.accuracy.__getitem__, reverse=True
        )[:1]
        chosen = best_and_cheapest(held_out, prices)
        best = list(dict.fromkeys([*(chosen[1:] if chosen else ()), *linear]))

    def challenger(name: str) -> Challenger:
        rivals = [rival for rival in (CONSTANT, *linear) if rival != name]
        others = [each for each in names if each not in (name, *rivals)]
        of_names = [[scored[each] for each in group] for group in (rivals, others)]
        return _of_comments(run, models[name], scored[name], *of_names)

    return RunModels(names, best, challenger)


def digit_models(run: history.Run) -> RunModels:
    """Networks of digits; of each, the seed that read the validation images best."""
    trained: dict[str, TrainedDigits] = {}  # the best first
    results = [each for each, _ in history.results_of(run, TrainedDigits)]
    for each in sorted(results, key=lambda each: (-each.val_accuracy, each.name)):
        trained.setdefault(each.name, each)

    return RunModels(
        sorted(trained), list(trained)[:1], lambda name: _of_digits(run, trained[name])
    )


def _of_comments(
    run: history.Run,
    model: Model,
    scored: Scored,
    rivals: Sequence[Scored],
    others: Sequence[Scored],
) -> Challenger:
    """A model of comments against others of its run."""
    split, _ = _last(run, Split)
    _, cleaned = _last(run, Cleaned)
    test = pd.read_parquet(split.test.verified(), columns=["txt", "file"])
    texts = test["txt"].tolist()
    table = pd.read_parquet(scored.predictions.verified())
    columns = [column for column in map(str, table) if column.startswith("p_")]
    actual = table["actual"].to_numpy(str)
    recipe = model.recipe.verified().read_bytes()

    def files() -> dict[str, bytes]:
        train = pd.read_parquet(split.train.verified(), columns=["txt", "cat", "clean"])
        weights = {WEIGHTS: model.weights.verified().read_bytes()} if model.weights else {}
        return weights | {
            PIPELINE: model.pipeline.verified().read_bytes(),
            RECIPE: recipe,
            EXAMPLES: examples_to_bytes(actual, texts, table[columns].to_numpy(np.float64)),
            SEEN: seen_to_bytes(train["clean"].tolist()),
            PROFILE: profile_to_bytes(train["txt"].tolist(), train["cat"].tolist()),
        }

    encoder = model.encoder

    def encoder_files() -> dict[str, bytes]:
        files = encoder.files if encoder else ()
        return {file.path.name: file.verified().read_bytes() for file in files}

    return Challenger(
        encoder=encoder_files,
        manifest={
            **_manifest(run, COMMENTS, model.name, scored.scores, json.loads(recipe)),
            "classes": [column.removeprefix("p_") for column in columns],
            "columns": {
                name: run.json["parameters"].get(f"{name}_column") for name in ("text", "label")
            },
            "cleaning": asdict(cleaning_of(cleaned["parameters"]["cleaning"])),  # every option
            "best_params": model.best_params,
            "text": model.text,
            **({"encoder": encoder.about()} if encoder else {}),
            "training": {"rows": split.rows_train, "sha256": split.train.sha256},
            "test_rows": split.rows_test,
        },
        inputs=texts,
        actual=actual,
        answers=table["predicted"].to_numpy(str),
        rivals=[Rival(each.name, _answers_of(each)) for each in rivals],
        others=[Rival(each.name, _answers_of(each)) for each in others],
        files=files,
        seed=int(run.json["parameters"].get("seed") or 0),
        slices=slices_of(texts, test["file"].tolist()),
    )


def _answers_of(scored: Scored) -> np.ndarray:
    return pd.read_parquet(scored.predictions.verified())["predicted"].to_numpy(str)


def _of_digits(run: history.Run, trained: TrainedDigits) -> Challenger:
    """A network against the commonest label."""
    digits, _ = _last(run, Digits)
    _, record = _last(run, TrainedDigits)
    digits.arrays.verified()
    arrays, labels = read_digits(digits), np.array(digits.labels)
    weights = trained.weights.verified().read_bytes()
    content = trained.predictions.verified().read_bytes()
    probabilities = weights_from_bytes(content)["probabilities"]
    actual = labels[arrays["labels_test"]]
    commonest = labels[np.bincount(arrays["labels_train"]).argmax()]
    digest = weights_digest(weights_from_bytes(weights))
    recipe = {"parameters_sha256": digest, "libraries": record["libraries"]}

    def files() -> dict[str, bytes]:
        return {
            WEIGHTS: weights,
            RECIPE: trained.scores.verified().read_bytes(),
            EXAMPLES: examples_to_bytes(actual, arrays["images_test"], probabilities),
            SEEN: seen_to_bytes(arrays["images_train"]),
            PROFILE: looks_to_bytes(arrays["images_train"]),
        }

    return Challenger(
        manifest={
            **_manifest(run, DIGITS, trained.name, trained.scores, recipe),
            "classes": digits.labels,
            "training": {"rows": digits.rows_train, "sha256": digits.arrays.sha256},
            "test_rows": digits.rows_test,
        },
        inputs=arrays["images_test"],
        actual=actual,
        answers=labels[probabilities.argmax(axis=1)],
        rivals=[Rival(CONSTANT, np.full(len(actual), commonest))],
        files=files,
        seed=trained.seed,
    )


def _last(run: history.Run, result_type: type[R]) -> tuple[R, dict[str, Any]]:
    """The last result of a class, and its record."""
    results = history.results_of(run, result_type)
    if not results:
        raise NothingToPromoteError(
            f"{run.folder}: expected the record of a step that gave {result_type.__name__}, "
            "got none: pruned, or never made"
        )
    return results[-1]


def _manifest(
    run: history.Run, kind: str, name: str, scores: File, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """The entries that versions of both kinds have."""
    every_score = json.loads(scores.verified().read_bytes())
    about_run = {"run_id": run.json["run_id"], "folder": run.folder.name, "flow": run.json["flow"]}
    return {
        "format": FORMAT,
        "kind": kind,
        "model": name,
        "scores": {n: every_score[n] for n in history.HEADLINES if n in every_score},
        "run": about_run,
        "parameters_sha256": recipe["parameters_sha256"],
        "libraries": recipe["libraries"],
        "python": recipe.get("python", platform.python_version()),
    }
