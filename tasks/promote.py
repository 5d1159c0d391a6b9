"""Promote the best model of a run, where nothing speaks against it; say what does.

What a run found is read from its records, so that a model can be promoted the next day by hand as
well as at the end of the run. Conditions: `judgement.gates`. The model's files are
copied, so that no cleaning up of records reaches a promoted model.
"""

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.artifacts import create_table_artifact

import neural_classifiers
from neural_classifiers.arrays.weights import weights_digest, weights_from_bytes, weights_to_bytes
from neural_classifiers.comments.drift import Profiler
from neural_classifiers.engine import history, paths, runs
from neural_classifiers.engine.files import write_durably
from neural_classifiers.engine.records import Reference, read_record
from neural_classifiers.engine.step import UNRECORDED
from neural_classifiers.errors import RefusedError
from neural_classifiers.judgement.gates import Gate, Rival, judge_candidate
from neural_classifiers.judgement.names import CONSTANT, RIVALS, SERVING
from neural_classifiers.judgement.weaknesses import slices_of
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import (
    CARD,
    COMMENTS,
    DIGITS,
    EXAMPLES,
    FORMAT,
    KINDS,
    PIPELINE,
    PROFILE,
    SEEN,
    WEIGHTS,
    NotPromotedError,
    cleaning_options,
    examples_to_bytes,
)
from neural_classifiers.serving.trained_on import answers_of, digests_of_images, digests_of_texts
from tasks.references import Compared, Digits, Model, Scored, Split, TrainedDigits, read_digits

PROMOTION = "promotion.json"  # in the run's folder
N_EXAMPLES = 32  # recorded with their probabilities
EXAMPLE_CHARACTERS = 4000


class NothingToPromoteError(RefusedError):
    """A run has no model that could be promoted: says what was expected and what came."""


@dataclass(frozen=True)
class Decision:
    """What became of a candidate.

    Attributes
    ----------
    kind, model, run : str
    gates : list of Gate
        Every condition, with what was found.
    version : str or None
        The version that now serves; None where the candidate was refused.
    """

    kind: str
    model: str
    run: str
    gates: list[Gate] = field(default_factory=list)
    version: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A model of a run and all that promoting it takes.

    Attributes
    ----------
    kind, name : str
    inputs : sequence
        Of the test set: texts as they came, or images.
    actual, answers : ndarray of str of shape (n_rows,)
    probabilities : ndarray of shape (n_rows, n_classes)
        As found when the model was judged.
    classes : list of str
        In the order of the probabilities.
    rivals : list of Rival
    files : callable
        Content of the version's files, by name.
    manifest : dict
        But for the digests of the files.
    seed : int
    slices : dict of str to ndarray of bool of shape (n_rows,)
        Parts of the test set, beside the classes.
    """

    kind: str
    name: str
    inputs: Any
    actual: np.ndarray
    answers: np.ndarray
    probabilities: np.ndarray
    classes: list[str]
    rivals: list[Rival]
    files: Callable[[], dict[str, bytes]]
    manifest: dict[str, Any]
    seed: int = 0
    slices: dict[str, np.ndarray] = field(default_factory=dict)


@task(task_run_name="promote_best", **UNRECORDED)
def promote_best(compared: Compared) -> str | None:
    """Let the best comment model of this run serve, if it may; a refusal is no failure.

    Returns
    -------
    str or None
        The version that serves from now on.
    """
    folder = runs.run_folder()
    run = history.Run.of(folder)
    decisions = promote(run, kind=COMMENTS, again=False)
    told = [decision.as_dict() for decision in decisions]
    write_durably(folder / PROMOTION, runs.as_json(told))
    rows = [{"model": d.model} | asdict(gate) for d in decisions for gate in d.gates]
    create_table_artifact(rows, key="promotion", description="What spoke for and against")
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
        Of the model. By default the one that did best on the training rows (comments: in
        cross-validation; digits: on the validation images) and, where that is refused, the best
        linear one.
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
    found = _Found(run)
    decisions = []
    for candidates in _wanted(found, name, kind):
        for candidate in candidates:
            with registry.one_at_a_time():
                decision = decide(candidate, run.folder.name, again, other_classes)
            decisions.append(decision)
            if decision.version:
                break
    return decisions


def in_words(decision: Decision) -> str:
    """A line for the outcome, and one for each condition."""
    outcome = f"promoted as {decision.version}" if decision.version else "refused"
    lines = [f"{decision.model} of {decision.run}: {outcome}"]
    lines += [
        f"  {'yes' if gate.passed else 'NO':<4}{gate.name}: {gate.found}" for gate in decision.gates
    ]
    return "\n".join(lines)


def decide(
    candidate: Candidate, run: str, again: bool = True, other_classes: bool = False
) -> Decision:
    """Let a candidate serve if every condition is met; to be called within `one_at_a_time`."""
    gates: list[Gate] = []
    rivals = list(candidate.rivals)
    parameters = candidate.manifest["parameters_sha256"]
    if (version := registry.serving(candidate.kind)) is not None:
        serving = registry.manifest_of(version)
        if serving["parameters_sha256"] == parameters:
            gates.append(Gate("another model than serves", False, f"{version} is the same model"))
        elif set(serving["classes"]) != set(candidate.classes):
            gates.append(
                Gate(
                    "the categories of the serving model",
                    other_classes,
                    f"{serving['classes']} in {version}, here {candidate.classes}",
                )
            )
        else:
            try:
                rivals.append(_serving_rival(version, candidate))
            except NotPromotedError as error:  # rolled back, it is in nobody's way
                gates.append(Gate("the serving model can be asked", False, str(error)))
    at = registry.withdrawn(candidate.kind).get(parameters)
    if at and not again:
        gates.append(Gate("not rolled back", False, f"this very model was rolled back at {at}"))
    unit = "texts" if candidate.kind == COMMENTS else "images"
    gates += judge_candidate(
        candidate.actual, candidate.answers, rivals, candidate.slices, candidate.seed, unit=unit
    )
    if not all(gate.passed for gate in gates):
        return Decision(candidate.kind, candidate.name, run, gates)
    manifest = candidate.manifest | {"gates": [asdict(gate) for gate in gates]}
    beside = registry.write_version(manifest, candidate.files())
    passed, found = registry.check_in_clean_process(beside)
    gates.append(Gate("answers as recorded in a clean process", passed, found))
    if not passed:
        registry.discard(beside)
        return Decision(candidate.kind, candidate.name, run, gates)
    kept = registry.keep_version(beside)
    registry.serve(candidate.kind, kept)
    return Decision(candidate.kind, candidate.name, run, gates, kept)


def _serving_rival(version: str, candidate: Candidate) -> Rival:
    """What the serving model answers on the test set, and which of it it was not trained on."""
    serving = neural_classifiers.load(registry.folder_of(version))
    probabilities, unseen = answers_of(serving, candidate.inputs)
    return Rival(SERVING, serving.answers(probabilities).astype(str), unseen)


def _wanted(found: "_Found", name: str | None, kind: str | None) -> Iterator[Iterator[Candidate]]:
    """The candidates of each kind; of a kind the first that is promoted ends it."""
    names = {each: found.names(each) for each in ([kind] if kind else KINDS)}
    wanted = [each for each in names if (name in names[each] if name else names[each])]
    if not wanted:
        what = f"a model called {name!r}" if name else "a model"
        known = [one for each in names.values() for one in each]
        raise NothingToPromoteError(f"{found.run.folder}: expected {what}, got {known}")
    for each in wanted:
        yield (found.candidate(each, one) for one in ([name] if name else found.best(each)))


class _Found:
    """What a run found, out of its records."""

    def __init__(self, run: history.Run) -> None:
        self.run = run
        self._results: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
        for step in run.json["steps"]:
            home = paths.cache() / step["step"] / step["key"]
            if "error" not in step and (record := read_record(home)):
                self._results.setdefault(step["step"], []).append((home, record))

    @cached_property
    def _models(self) -> dict[str, Model]:
        """Each model of comments by name, whichever step made it."""
        models = {}
        for step in self._results.values():
            for home, record in step:
                if {"pipeline", "card", "name"} <= set(record["result"]):
                    model = Model.model_validate(record["result"], context={"folder": home})
                    models[model.name] = model
        return models

    @cached_property
    def _scored(self) -> dict[str, Scored]:
        return {s.name: s for s in self._all("score_model", Scored)}

    def names(self, kind: str) -> list[str]:
        """The models that may be promoted."""
        if kind == DIGITS:
            return sorted(self._trained)
        judged = [name for name in self._models if name in self._scored and name != CONSTANT]
        return sorted(judged) if CONSTANT in self._scored else []

    def best(self, kind: str) -> list[str]:
        """The model that did best on the training rows, then the best linear one."""
        names = self.names(kind)
        if kind == DIGITS:
            return [max(names, key=lambda name: self._trained[name].val_accuracy)]
        scoring = self.run.json["parameters"].get("scoring", "accuracy")
        alike = [name for name in names if self._models[name].scoring == scoring] or names
        return list(dict.fromkeys([max(alike, key=self._cv_score), *self._best_linear()]))

    def candidate(self, kind: str, name: str) -> Candidate:
        """A model with all that promoting it takes."""
        return self._of_comments(name) if kind == COMMENTS else self._of_digits(name)

    @cached_property
    def _trained(self) -> dict[str, TrainedDigits]:
        """Each network, of several seeds the one that read the validation images best."""
        best: dict[str, TrainedDigits] = {}
        for each in self._all("train_digits", TrainedDigits):
            if each.name not in best or each.val_accuracy > best[each.name].val_accuracy:
                best[each.name] = each
        return best

    def _best_linear(self) -> list[str]:
        linear = [n for n in RIVALS if n in self._scored and n not in (CONSTANT, SERVING)]
        return [max(linear, key=self._cv_score)] if linear else []

    def _cv_score(self, name: str) -> float:
        return self._models[name].best_cv_score or 0.0

    def _of_comments(self, name: str) -> Candidate:
        model, split = self._models[name], self._one("split_comments", Split)
        test = pd.read_parquet(split.test.verified(), columns=["txt", "cat", "file"])
        tables = {
            n: pd.read_parquet(self._scored[n].predictions.verified())
            for n in dict.fromkeys([CONSTANT, *self._best_linear(), name])
        }
        columns = [c for c in tables[name].columns if c.startswith("p_")]
        classes = [column.removeprefix("p_") for column in columns]
        probabilities = tables[name][columns].to_numpy(np.float64)
        actual = tables[name]["actual"].to_numpy(str)
        card = json.loads(model.card.verified().read_bytes())

        def files() -> dict[str, bytes]:
            train = pd.read_parquet(split.train.verified(), columns=["txt", "cat", "clean"])
            texts = test["txt"].tolist()
            rows = _example_rows(actual, [len(text) for text in texts])
            weights = {WEIGHTS: model.weights} if model.weights else {}
            copied = {PIPELINE: model.pipeline, CARD: model.card} | weights
            return {n: f.verified().read_bytes() for n, f in copied.items()} | {
                EXAMPLES: examples_to_bytes([texts[row] for row in rows], probabilities[rows]),
                SEEN: seen_to_bytes(digests_of_texts(train["clean"].tolist())),
                PROFILE: profile_to_bytes(train["txt"].tolist(), train["cat"].tolist()),
            }

        return Candidate(
            kind=COMMENTS,
            name=name,
            inputs=test["txt"].tolist(),
            actual=actual,
            answers=tables[name]["predicted"].to_numpy(str),
            probabilities=probabilities,
            classes=classes,
            rivals=[
                Rival(n, table["predicted"].to_numpy(str))
                for n, table in tables.items()
                if n != name
            ],
            files=files,
            manifest=self._manifest(COMMENTS, name, classes, card)
            | {
                "cleaning": self._cleaning(),
                "scores": _headlines(json.loads(self._scored[name].scores.verified().read_bytes())),
                "best_params": model.best_params,
                "training": {"rows": split.rows_train, "sha256": split.train.sha256},
                "test_rows": split.rows_test,
            },
            seed=int(self.run.json["parameters"].get("seed") or 0),
            slices=slices_of(test["txt"].tolist(), test["file"].tolist()),
        )

    def _of_digits(self, name: str) -> Candidate:
        trained, digits = self._trained[name], self._one("ingest_digits", Digits)
        digits.arrays.verified()
        arrays = read_digits(digits)
        labels = np.array(digits.labels)
        content = trained.predictions.verified().read_bytes()
        probabilities = weights_from_bytes(content)["probabilities"]
        scores = json.loads(trained.scores.verified().read_bytes())
        commonest = int(np.bincount(arrays["labels_train"]).argmax())
        actual = labels[arrays["labels_test"]]

        def files() -> dict[str, bytes]:
            rows = _example_rows(actual, [0] * len(actual))
            return {
                WEIGHTS: trained.weights.verified().read_bytes(),
                CARD: trained.scores.verified().read_bytes(),
                EXAMPLES: examples_to_bytes(arrays["images_test"][rows], probabilities[rows]),
                SEEN: seen_to_bytes(digests_of_images(arrays["images_train"])),
            }

        weights = weights_from_bytes(trained.weights.verified().read_bytes())
        _, record = self._last("train_digits")
        card = {"parameters_sha256": weights_digest(weights), "libraries": record["libraries"]}
        return Candidate(
            kind=DIGITS,
            name=name,
            inputs=arrays["images_test"],
            actual=actual,
            answers=labels[probabilities.argmax(axis=1)],
            probabilities=probabilities,
            classes=digits.labels,
            rivals=[Rival(CONSTANT, np.full(len(actual), labels[commonest]))],
            files=files,
            manifest=self._manifest(DIGITS, name, digits.labels, card)
            | {
                "scores": _headlines(scores),
                "training": {"rows": digits.rows_train, "sha256": digits.arrays.sha256},
                "test_rows": digits.rows_test,
            },
            seed=trained.seed,
        )

    def _manifest(
        self, kind: str, name: str, classes: Sequence[str], card: Mapping[str, Any]
    ) -> dict[str, Any]:
        told = self.run.json
        return {
            "format": FORMAT,
            "kind": kind,
            "model": name,
            "classes": list(classes),
            "parameters_sha256": card["parameters_sha256"],
            "run": {"run_id": told["run_id"], "folder": self.run.folder.name, "flow": told["flow"]},
            "libraries": card["libraries"],
            "python": card.get("python", platform.python_version()),
        }

    def _cleaning(self) -> dict[str, Any]:
        """Every option of the cleaning that the run's texts went through."""
        from neural_classifiers.comments.text import cleaning_of

        _, record = self._last("clean_comments")
        return cleaning_options(cleaning_of(record["parameters"]["cleaning"]))

    def _last(self, step: str) -> tuple[Path, dict[str, Any]]:
        if step not in self._results:
            raise NothingToPromoteError(
                f"{self.run.folder}: expected the record of {step}, got none: pruned, or never made"
            )
        return self._results[step][-1]

    def _one(self, step: str, kind: type[Any]) -> Any:
        home, record = self._last(step)
        return kind.model_validate(record["result"], context={"folder": home})

    def _all(self, step: str, kind: type[Reference]) -> list[Any]:
        return [
            kind.model_validate(record["result"], context={"folder": home})
            for home, record in self._results.get(step, [])
        ]


def _headlines(scores: Mapping[str, Any]) -> dict[str, float]:
    return {name: scores[name] for name in history.HEADLINES if name in scores}


def _example_rows(actual: np.ndarray, sizes: Sequence[int]) -> list[int]:
    """Some rows of every class, in order."""
    classes = np.unique(actual)
    each = max(N_EXAMPLES // len(classes), 1)
    short = np.array(sizes) <= EXAMPLE_CHARACTERS
    return sorted(int(row) for c in classes for row in np.flatnonzero((actual == c) & short)[:each])


def seen_to_bytes(digests: np.ndarray) -> bytes:
    """What a model was trained on, each once."""
    return weights_to_bytes({"digests": np.unique(digests)})


def profile_to_bytes(texts: list[str], categories: list[str]) -> bytes:
    """What the training texts are like, to hold later ones against."""
    from neural_classifiers.comments.text import english_stop_words

    profiler = Profiler(english_stop_words(), len(texts))
    profiler.add(texts, categories)
    return (json.dumps(profiler.profile().as_dict()) + "\n").encode()
