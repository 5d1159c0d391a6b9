"""Decisions on whether a model of a run becomes a version and serves.

The gates that a challenger passes on its own rows are those of `judgement.gates`; here are those
that need the registry. What is promoted is copied, so that no cleaning up of records reaches it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from neural_classifiers.judgement.gates import Gate, Rival, judge_challenger
from neural_classifiers.judgement.names import SERVING
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import COMMENTS, NotPromotedError, read_manifest, read_model
from neural_classifiers.serving.trained_on import unseen


@dataclass(frozen=True)
class Challenger:
    """A model of a run that may take the place of the version that serves.

    Attributes
    ----------
    manifest : dict
        Of the version to be, but for what the registry adds: ``kind``, ``model``, ``classes`` in
        the order of the probabilities, ``parameters_sha256``, ``run`` and whatever tells where the
        model comes from.
    inputs : sequence
        Of the test set: texts as they came, or images.
    actual, answers : ndarray of str of shape (n_rows,)
        Right answers, and those of the model.
    rivals, others : list of Rival
        Models to be better than, and models not to be worse than.
    files : callable
        Content of the version's files, by name; asked once the gates are passed.
    seed : int
        Of the bootstrap that bounds the differences.
    slices : dict of str to ndarray of bool of shape (n_rows,)
        Parts of the test set, beside the classes.
    encoder : callable
        The same of the encoder that it begins with; empty where there is none.
    """

    manifest: Mapping[str, Any]
    inputs: Any
    actual: np.ndarray
    answers: np.ndarray
    rivals: list[Rival]
    files: Callable[[], dict[str, bytes]]
    seed: int = 0
    slices: dict[str, np.ndarray] = field(default_factory=dict)
    others: list[Rival] = field(default_factory=list)
    encoder: Callable[[], dict[str, bytes]] = dict


@dataclass(frozen=True)
class Decision:
    """Outcome for a challenger.

    Attributes
    ----------
    kind, model, run : str
    gates : list of Gate
        Every condition, with what was found.
    version : str or None
        The version that now serves; None where the challenger was refused.
    """

    kind: str
    model: str
    run: str
    gates: list[Gate] = field(default_factory=list)
    version: str | None = None


def in_words(decision: Decision) -> str:
    """A line for the outcome, and one for each condition."""
    outcome = f"promoted as {decision.version}" if decision.version else "refused"
    lines = [f"{decision.model} of {decision.run}: {outcome}"]
    lines += [
        f"  {'yes' if gate.passed else 'NO':<4}{gate.name}: {gate.found}" for gate in decision.gates
    ]
    return "\n".join(lines)


def decide(challenger: Challenger, again: bool = True, other_classes: bool = False) -> Decision:
    """Let a challenger serve if it passes every gate.

    `again`: also a model that was rolled back. `other_classes`: also where the serving model sorts
    into other categories, so cannot be compared.
    """
    manifest = challenger.manifest
    kind, version = manifest["kind"], None
    with registry.one_at_a_time():
        gates, serving = _compare_with_serving(challenger, other_classes)
        at = registry.rolled_back(kind).get(manifest["parameters_sha256"])
        if at and not again:
            gates.append(Gate("not rolled back", False, f"this very model was rolled back at {at}"))
        gates += judge_challenger(
            challenger.actual,
            challenger.answers,
            challenger.rivals + serving,
            challenger.others,
            slices=challenger.slices,
            seed=challenger.seed,
            unit="texts" if kind == COMMENTS else "images",
        )

        def check(folder: Any) -> bool:
            passed, found = registry.check_in_clean_process(folder)
            gates.append(Gate("answers as recorded in a clean process", passed, found))
            return passed

        if all(gate.passed for gate in gates):
            passed_gates = {"gates": [asdict(gate) for gate in gates]}
            version = registry.add_version(
                {**manifest, **passed_gates},
                challenger.files(),
                check,
                challenger.encoder(),
            )
        if version:
            registry.let_serve(kind, version)
    return Decision(kind, manifest["model"], manifest["run"]["folder"], gates, version)


def _compare_with_serving(
    challenger: Challenger, other_classes: bool
) -> tuple[list[Gate], list[Rival]]:
    """Gates about the version that serves, and its answers on the test set where it has any."""
    ours = challenger.manifest
    version = registry.serving_version(ours["kind"])
    if version is None:
        return [], []
    try:
        folder = registry.version_folder(version)
        theirs = read_manifest(folder, version)
        if theirs["parameters_sha256"] == ours["parameters_sha256"]:
            found = f"{version} is the same model"
            return [Gate("another model than serves", False, found)], []
        if set(theirs["classes"]) != set(ours["classes"]):
            found = f"{theirs['classes']} in {version}, here {ours['classes']}"
            return [Gate("the categories of the serving model", other_classes, found)], []
        model = read_model(folder, version)
        answers = model.predict(challenger.inputs).astype(str)
        not_trained_on = unseen(model, challenger.inputs)
    except NotPromotedError as error:  # rolled back, it is in nobody's way
        return [Gate("the serving model can be asked", False, str(error))], []
    return [], [Rival(SERVING, answers, not_trained_on)]
