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
ROW = np.arange(N)
ACTUAL = np.array(["sports", "games"] * (N // 2))
CONSTANT = Rival("constant", np.full(N, "sports"))


def right_about(share: float, seed: int = 0) -> np.ndarray:
    """Answers of which a share is right."""
    wrong = np.where(ACTUAL == "sports", "games", "sports")
    is_right = np.random.default_rng(seed).permutation(N) < share * N
    return np.where(is_right, ACTUAL, wrong)


def rival(name: str, share: float, unseen: np.ndarray | None = None) -> Rival:
    """A rival of whose answers a share is right; every one on rows that it was trained on."""
    answers = right_about(share, seed=1)
    return Rival(name, answers if unseen is None else np.where(unseen, answers, ACTUAL), unseen)


@pytest.mark.parametrize(
    ("share", "rival", "passed", "words"),
    [
        (0.9, CONSTANT, True, "better: 400 texts, "),
        (0.7, CONSTANT, True, "better: 400 texts, "),
        (
            0.5,
            CONSTANT,
            False,
            "no difference that these could show, not shown to be better than g",
        ),
        (0.9, rival("linear", 0.7), True, "better: 400 texts, "),
        (0.7, rival("linear", 0.9), False, "worse: 400 texts, "),
        (
            0.8,
            rival("serving", 0.5, ROW >= 200),
            True,
            "better: 200 texts that neither was trained ",
        ),
        (0.8, rival("serving", 0.5, ROW < 0), False, "no texts that neither was trained on"),
    ],
)
def test_a_model_has_to_be_better_on_what_neither_was_trained_on(share, rival, passed, words):
    gate, *_ = judge_challenger(ACTUAL, right_about(share), [rival])

    assert (gate.name, gate.passed) == (f"better than {rival.name}", passed)
    assert gate.found.startswith(words)


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
    ours, theirs = ACTUAL.copy(), ACTUAL.copy()
    ours[10:70] = "neither"
    theirs[np.r_[0:4, 50:160]] = "neither"
    better, behind = judge_challenger(
        ACTUAL, ours, [Rival("serving", theirs)], slices={"forum": ROW < 40}
    )

    assert (better.passed, behind.passed) == (True, False)
    assert behind.found.replace("\N{NO-BREAK SPACE}", " ") == (
        "1 of 3 slices fall behind serving by more than 5.0 %: "
        "forum: 25.0 % against 90.0 % of 40 texts"
    )


@pytest.mark.parametrize(
    ("share", "passed", "words"), [(0.8, True, "0 of 2"), (0.95, False, "1 of 2")]
)
def test_a_model_that_another_one_of_the_run_is_shown_to_beat_does_not_serve(share, passed, words):
    others = [rival("keras", share), rival("scikit", 0.5)]
    better, gate = judge_challenger(ACTUAL, right_about(0.8), [CONSTANT], others)

    assert better.passed
    assert (gate.name, gate.passed) == ("no other model of the run shown better", passed)
    assert gate.found.startswith(words)


@pytest.mark.parametrize(
    ("n_rare", "passed", "words"),
    [
        (MIN_SLICE_ROWS, False, "class rare: 0.0"),
        (MIN_SLICE_ROWS - 1, True, "too small to judge: class rare (19)"),
    ],
)
def test_a_class_is_a_slice_and_one_of_a_few_rows_is_told_and_not_judged(n_rare, passed, words):
    actual = np.r_[["rare"] * n_rare, ACTUAL]
    answers = np.where(actual == "rare", "games", actual)
    *_, gate = judge_challenger(actual, answers, [Rival("linear", actual)])

    assert gate.passed == passed
    assert words in gate.found


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


@pytest.mark.parametrize("wrong", ["reversed", "NaN"])
def test_wrong_probabilities_in_a_clean_process_speak_against_a_model(home, wrong):
    challenger = made_models.challenger(home)
    files = challenger.files()
    examples = json.loads(files[EXAMPLES])
    recorded = examples["probabilities"]
    recorded[3] = recorded[3][::-1] if wrong == "reversed" else [float("nan")] * 3
    files |= {EXAMPLES: json.dumps(examples).encode()}

    decision = decide(dataclasses.replace(challenger, files=lambda: files))

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
