"""What speaks against a model, and what does not: the conditions of promotion."""

import dataclasses
import json
import shutil

import made_models
import numpy as np
import pytest

import neural_classifiers
from neural_classifiers.comments.text import clean_comment
from neural_classifiers.judgement.gates import MIN_SLICE_ROWS, Rival, judge_challenger
from neural_classifiers.serving import registry
from neural_classifiers.serving.model import COMMENTS, EXAMPLES, PIPELINE, SEEN, NotPromotedError
from neural_classifiers.serving.promotion import decide
from neural_classifiers.serving.trained_on import seen_to_bytes

N = 400
ACTUAL = np.array(["sports", "games"] * (N // 2))
CONSTANT = Rival("constant", np.full(N, "sports"))


def right_about(share: float, seed: int = 0) -> np.ndarray:
    """Answers of which a share is right."""
    wrong = np.where(ACTUAL == "sports", "games", "sports")
    is_right = np.random.default_rng(seed).permutation(N) < share * N
    return np.where(is_right, ACTUAL, wrong)


def judged(answers, *rivals, **more):
    return {gate.name: gate for gate in judge_challenger(ACTUAL, answers, rivals, **more)}


def test_a_model_that_is_better_than_all_passes():
    gates = judged(right_about(0.9), CONSTANT, Rival("linear", right_about(0.7, seed=1)))

    assert {name: gate.passed for name, gate in gates.items()} == {
        "better than constant": True,
        "better than linear": True,
        "no slice behind linear": True,
    }
    assert "; accuracy +0.200 (" in gates["better than linear"].found  # 360 - 280 of 400


def test_a_linear_model_that_is_better_speaks_against_a_network():
    gates = judged(right_about(0.7), CONSTANT, Rival("linear", right_about(0.9, seed=1)))

    assert gates["better than constant"].passed
    assert not gates["better than linear"].passed
    assert gates["better than linear"].found.startswith("worse: 400 texts, ")


def test_noise_is_no_better_than_the_constant_answer():
    gate = judged(right_about(0.5), CONSTANT)["better than constant"]

    assert not gate.passed
    assert gate.found.startswith(
        "no difference that these could show, not shown to be better than guessing: 400 texts"
    )


def test_a_useful_model_of_unequal_classes_may_be_less_often_right_than_the_commonest_answer():
    actual = np.repeat(["rare", "common"], [60, 340])
    constant = Rival(CONSTANT.name, np.full(N, "common"))
    useful, coin = actual.copy(), np.random.default_rng(1).permutation(actual)
    useful[np.r_[0:10, 60:140]] = ["common"] * 10 + ["rare"] * 80  # 50 of 60 rare ones found

    gate, *_ = judge_challenger(actual, useful, [constant])
    assert gate.passed
    assert gate.found.startswith("worse, but better at the rarer classes: 400 texts, ")
    gate, *_ = judge_challenger(actual, coin, [constant])
    assert not gate.passed
    assert gate.found.startswith("worse, not shown to be better than guessing: 400 texts, ")


def test_a_slice_that_falls_behind_speaks_against_a_model_that_is_better_in_all():
    # Of 40 rows of one forum the challenger has 10 right, its rival 36; of the others 330 of 360
    # against 250, so that it wins in all
    forum = np.arange(N) < 40
    ours, theirs = ACTUAL.copy(), ACTUAL.copy()
    for answers, wrong in (
        (ours, [*range(10, 40), *range(40, 70)]),
        (theirs, [*range(4), *range(50, 160)]),
    ):
        answers[wrong] = "neither"
    gates = judged(ours, CONSTANT, Rival("serving", theirs), slices={"forum": forum})

    assert gates["better than serving"].passed
    behind = gates["no slice behind serving"]
    assert not behind.passed
    assert behind.found.startswith(
        "1 of 3 slices fall behind serving by more than 5.0\N{NO-BREAK SPACE}%"
    )
    assert (
        "forum: 25.0\N{NO-BREAK SPACE}% against 90.0\N{NO-BREAK SPACE}% of 40 texts" in behind.found
    )


def test_a_class_is_a_slice_and_one_of_a_few_rows_is_told_and_not_judged():
    rows = np.r_[0:MIN_SLICE_ROWS, 100:300]
    actual = np.where(np.arange(N) < MIN_SLICE_ROWS, "rare", ACTUAL)[rows]
    rival = Rival("linear", actual.copy())
    answers = np.where(actual == "rare", "games", actual)

    def gate(n_rare: int):
        keep = np.r_[0:n_rare, MIN_SLICE_ROWS : len(actual)]
        rivals = [dataclasses.replace(rival, answers=rival.answers[keep])]
        return judge_challenger(actual[keep], answers[keep], rivals)[-1]

    assert not gate(MIN_SLICE_ROWS).passed
    assert "class rare: 0.0" in gate(MIN_SLICE_ROWS).found
    assert gate(MIN_SLICE_ROWS - 1).passed
    assert "too small to judge: class rare (19)" in gate(MIN_SLICE_ROWS - 1).found


def test_only_texts_that_neither_was_trained_on_count_against_the_serving_model():
    # It has every text right that it was trained on, and of the others half
    seen = np.arange(N) < 200
    theirs = np.where(seen, ACTUAL, right_about(0.5))
    gates = judged(right_about(0.8), Rival("serving", theirs, ~seen))

    assert gates["better than serving"].passed
    assert (
        "better: 200 texts that neither was trained on, of 400, "
        in gates["better than serving"].found
    )
    gates = judged(right_about(0.8), Rival("serving", theirs, np.zeros(N, bool)))
    assert not gates["better than serving"].passed
    assert gates["better than serving"].found == "no texts that neither was trained on"


# --------------------------------------------------------------------------- with files


def refused(decision) -> dict[str, str]:
    assert decision.version is None
    return {gate.name: gate.found for gate in decision.gates if not gate.passed}


def test_a_model_is_promoted_and_then_serves_and_the_same_one_is_not_promoted_twice(home):
    challenger = made_models.challenger(home)
    decision = decide(challenger)

    assert decision.version == registry.serving_version(COMMENTS)
    assert all(gate.passed for gate in decision.gates)
    manifest = neural_classifiers.load("comments").manifest
    assert manifest["gates"][0]["name"] == "better than constant"
    assert "within 0 of what is recorded" in decision.gates[-1].found

    again = refused(decide(challenger))
    assert "is the same model" in again["another model than serves"]


def test_wrong_probabilities_in_a_clean_process_speak_against_a_model(home):
    challenger = made_models.challenger(home)
    files = challenger.files()
    examples = json.loads(files[EXAMPLES])
    examples["probabilities"][3] = examples["probabilities"][3][::-1]
    wrong = files | {EXAMPLES: json.dumps(examples).encode()}

    decision = decide(dataclasses.replace(challenger, files=lambda: wrong))

    found = refused(decision)
    assert list(found) == ["answers as recorded in a clean process"]
    assert "expected the recorded probabilities of its examples" in found[decision.gates[-1].name]
    assert registry.all_versions() == []
    assert [p for p in (home / "artifacts/models").rglob("*") if p.suffix == ".skops"] == []


def test_a_model_is_held_against_the_serving_one_on_what_that_was_not_trained_on(home):
    version = made_models.serve(home)
    texts, labels = made_models.comments(home)
    worse = made_models.fitted(texts[:40], labels[:40])
    found = refused(decide(made_models.challenger(home, worse)))
    assert "better than serving" in found

    everything = made_models.fitted(texts, labels)  # trained on the whole test set
    made = made_models.challenger(home, everything)
    seen = made.files() | {SEEN: seen_to_bytes(map(clean_comment, texts))}
    serves = made_models.serve_files(made, seen)
    found = refused(decide(made_models.challenger(home)))
    assert found["better than serving"] == "no texts that neither was trained on"
    assert version != serves


def test_other_categories_than_the_serving_ones_need_to_be_asked_for(home):
    made_models.serve(home)
    texts, labels = made_models.comments(home)
    others = [label.upper() for label in labels]
    made = made_models.challenger(home, made_models.fitted(texts[:160], others[:160]))
    made = dataclasses.replace(
        made,
        actual=np.char.upper(made.actual),
        rivals=[Rival("constant", np.full(80, "VIDEO_GAMES"))],
    )

    found = refused(decide(made))
    assert list(found) == ["the categories of the serving model"]
    assert "SPORTS" in found["the categories of the serving model"]
    assert decide(made, other_classes=True).version


def test_a_model_that_was_rolled_back_is_promoted_again_by_hand_only(home):
    first = made_models.serve(home)
    assert registry.roll_back(COMMENTS) == (first, None)
    assert registry.serving_version(COMMENTS) is None

    challenger = made_models.challenger(home)
    assert "not rolled back" in refused(decide(challenger, again=False))
    assert decide(challenger, again=True).version


def test_rolling_back_goes_one_version_back_at_a_time(home):
    texts, labels = made_models.comments(home)
    a, b, c = [made_models.serve(home, made_models.fitted(texts, labels, C)) for C in (1, 2, 3)]

    assert len({a, b, c}) == 3
    assert registry.roll_back(COMMENTS) == (c, b)
    assert registry.roll_back(COMMENTS) == (b, a)
    serves = {each["version"]: each["serves"] for each in registry.all_versions()}
    assert serves == {a: True, b: False, c: False}
    registry.roll_back(COMMENTS)
    with pytest.raises(NotPromotedError, match="expected a model of comments"):
        registry.roll_back(COMMENTS)


def test_a_promotion_that_is_killed_leaves_nothing_that_serves(home):
    made, left = made_models.challenger(home), home / "left"

    def killed(folder):
        shutil.copytree(folder, left / folder.name)
        raise KeyboardInterrupt(folder)

    with pytest.raises(KeyboardInterrupt) as kill:
        registry.add_version(made.manifest, made.files(), killed)
    shutil.copytree(left, kill.value.args[0].parent)  # which a kill would have left there

    assert registry.all_versions() == []
    assert registry.serving_version(COMMENTS) is None
    assert decide(made).version  # what lay there is no hindrance
    assert not kill.value.args[0].parent.exists()


def test_a_damaged_serving_model_is_a_reason_and_a_rollback_puts_it_out_of_the_way(home):
    version = made_models.serve(home)
    texts, labels = made_models.comments(home)
    damaged = registry.version_folder(version) / PIPELINE
    damaged.chmod(0o644)
    damaged.write_bytes(b"")

    made = made_models.challenger(home, made_models.fitted(texts[:160], labels[:160], C=5.0))
    assert f"{version}: " in refused(decide(made))["the serving model can be asked"]
    registry.roll_back(COMMENTS)
    assert decide(made).version
