"""What past runs tell: which they were, why a step was computed, in what two runs differ."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow
from prefect.states import State

from neural_classifiers.engine import history, locks, paths
from neural_classifiers.engine.history import (
    UnknownRunError,
    compare,
    find_run,
    in_detail,
    overview,
)
from neural_classifiers.engine.records import File, Key, Reference, recall, record_folder
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.engine.step import step
from neural_classifiers.operation.resume import resume


class Written(Reference):
    """A file with a number."""

    number: File


def write_number(folder: Path, number: int) -> Written:
    (folder / "number.txt").write_text(str(number))
    return Written(number=File.of(folder / "number.txt"))


@step()
def draw_number(seed: int, folder: Path) -> Written:
    """Not reproducible: the draw counts too, which no key knows."""
    return write_number(folder, seed + int((paths.root() / "draw").read_text()))


@step()
def double_number(drawn: Written, folder: Path) -> Written:
    if (paths.root() / "broken").exists():
        raise ValueError("expected no file broken, got one")
    return write_number(folder, 2 * int(drawn.number.path.read_text()))


@flow(name="numbers", **FLOW)
def numbers(seed: int, refresh: list[str] | None = None) -> None:
    draw_number(seed)
    double_number(draw_number(seed))


def run_numbers(*args, **kwargs) -> State:
    return numbers(*args, **kwargs, return_state=True)


def steps_of(attempt: int = 1) -> list[tuple[str, str]]:
    """Steps of the newest run, and what became of them."""
    return [
        (s["step"], "cached" if s["hit"] else "refreshed" if s["refreshed"] else "computed")
        for s in find_run("last").json["steps"]
        if s["attempt"] == attempt and "error" not in s
    ]


def test_a_step_refreshed_on_purpose_is_computed_once_and_its_dependents_if_it_changed(
    home, prefect_server
):
    (home / "draw").write_text("1")
    run_numbers(34)
    assert steps_of() == [
        ("draw_number", "computed"),
        ("draw_number", "cached"),
        ("double_number", "computed"),
    ]

    # an equal output: nothing depends on it; the flow's second call finds what the first did
    run_numbers(34, refresh=["draw_number"])
    assert steps_of() == [
        ("draw_number", "refreshed"),
        ("draw_number", "cached"),
        ("double_number", "cached"),
    ]
    assert not (paths.cache() / ".aside").exists()

    misspelt = run_numbers(34, refresh=["draw_nubmer"])
    assert misspelt.is_failed()
    with pytest.raises(ValueError, match=r"expected names of steps .*, got \['draw_nubmer'\]"):
        misspelt.result()

    # another output, and a run that fails: its retry does not refresh again
    (home / "draw").write_text("2")
    (home / "broken").touch()
    state = run_numbers(34, refresh=["draw_number"])
    assert state.is_failed()
    assert len(list((paths.cache() / ".aside").iterdir())) == 1
    (home / "draw").write_text("3")
    (home / "broken").unlink()
    state = resume(str(state.state_details.flow_run_id), numbers)

    assert state.is_completed()
    assert steps_of(attempt=1) == [("draw_number", "refreshed"), ("draw_number", "cached")]
    assert steps_of(attempt=2) == [
        ("draw_number", "cached"),
        ("draw_number", "cached"),
        ("double_number", "computed"),
    ]
    assert len(history.all_runs()) == 4

    told = in_detail(find_run("last"))
    assert (told["status"], told["attempts"]) == ("completed", 2)
    assert (told["computed"], told["cached"], told["failed"]) == (2, 3, 1)
    whys = {s["task_run"]: s["why"] for s in told["steps"] if s["why"]}
    assert whys == {
        "draw_number": ["refreshed on purpose"],
        "double_number": ["inputs.drawn.number changed"],
    }
    failed = next(s for s in told["steps"] if "error" in s)
    assert (failed["why"], failed["error"]) == (
        None,
        "ValueError: expected no file broken, got one",
    )


KEY = Key("clean", {"seed": 34, "fold": 0}, {}, {"text.clean": "1"}, {"nltk": "3.10"})


def record(key: Key) -> Path:
    """The folder of a record, made now."""
    recall(paths.cache(), key, Written, lambda folder: write_number(folder, 1))
    return record_folder(paths.cache(), key)


def at(hour: float) -> datetime:
    return datetime(2026, 11, 22, int(hour), int(hour % 1 * 60), tzinfo=UTC)


def entry(key: Key, hour: float, hit: bool = False, **more) -> dict:
    return {
        "step": key.step,
        "task_run": key.step,
        "key": key.digest,
        "refreshed": False,
        "started": at(hour).isoformat(),
        "hit": hit,
        "seconds": 0.0,
        "peak_rss_mb": 1.0,
        "attempt": 1,
        **more,
    }


def run_folder(name: str, hour: float, *steps: dict, metrics: dict | None = None, **more) -> Path:
    folder = paths.runs() / f"{at(hour):%Y%m%dT%H%M%SZ}-{name}"
    folder.mkdir(parents=True)
    told = {
        "run_id": name,
        "flow": "classify-comments",
        "name": name,
        "status": "completed",
        "attempts": 1,
        "started": at(hour).isoformat(),
        "began": [at(hour).isoformat()],
        "seconds": 4.0,
        "error": None,
        "parameters": {"seed": 34},
        "steps": list(steps),
        **more,
    }
    (folder / "run.json").write_text(json.dumps(told))
    if metrics:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def with_(key: Key, **parts) -> Key:
    return Key(**{**vars(key), **parts})


def whys(name: str) -> list[str]:
    [step] = in_detail(find_run(name))["steps"]
    return step["why"]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"parameters": {"seed": 35, "fold": 0}}, ["parameters.seed: 34 -> 35"]),
        ({"parameters": {"seed": 34}}, ["parameters.fold: 0 -> null"]),
        ({"code": {"text.clean": "2"}}, ["code.text.clean changed"]),
        ({"code": {"text.clean": "1", "text.stem": "1"}}, ["code.text.stem new"]),
        ({"code": {}}, ["code.text.clean gone"]),
        ({"libraries": {"nltk": "3.11"}}, ['libraries.nltk: "3.10" -> "3.11"']),
    ],
    ids=["parameter", "no parameter", "code", "new code", "code gone", "library"],
)
def test_show_names_the_part_of_the_key_that_changed(home, parts, why):
    new = with_(KEY, **parts)
    record(KEY)
    record(new)
    run_folder("old", 1, entry(KEY, 1))
    run_folder("new", 3, entry(new, 3))

    assert whys("old") == ["first time"]  # the newer run is no reason for the older one
    assert whys("new") == why


def test_show_compares_with_the_nearest_record_and_not_with_the_runs_own(home):
    other_fold = with_(KEY, parameters={"seed": 34, "fold": 1})
    changed = {"text.clean": "2"}
    news = [with_(KEY, code=changed), with_(other_fold, code=changed)]
    for key in (KEY, other_fold, *news):
        record(key)
    run_folder("old", 1, entry(KEY, 1), entry(other_fold, 1.5))
    run_folder("new", 3, *(entry(key, hour) for key, hour in zip(news, (3, 3.5), strict=True)))

    # not fold 1 -> 0: the record of the same fold differs in less
    assert [s["why"] for s in in_detail(find_run("new"))["steps"]] == [
        ["code.text.clean changed"],
        ["code.text.clean changed"],
    ]
    assert [s["why"] for s in in_detail(find_run("old"))["steps"]] == [["first time"]] * 2


def test_show_tells_of_damaged_and_removed_records(home):
    path = record(KEY) / "number.txt"
    run_folder("first", 1, entry(KEY, 1))
    path.write_text("damage")
    record(KEY)  # finds the damage, sets the record aside and makes it again
    run_folder("second", 2, entry(KEY, 2))

    assert whys("second") == [f"record damaged, set aside as clean-{KEY.digest[:16]}-1"]
    assert whys("first") == ["first time"]

    gone = with_(KEY, step="split")
    run_folder("third", 3, entry(gone, 3))
    assert whys("third") == ["unknown: its record is gone"]
    run_folder("fourth", 4, entry(gone, 4))
    assert whys("fourth") == ["record was removed"]


def test_runs_are_told_newest_first_with_their_headline_scores(home):
    scores = {"comments": {"keras": {"accuracy": 0.75, "f1_macro": 0.5, "labels": []}}}
    run_folder("brave-owl", 1, entry(KEY, 1), entry(KEY, 1, hit=True), metrics=scores)
    run_folder("calm-fox", 2, entry(KEY, 2, error="ValueError: x"), status="failed")

    newest, oldest = [overview(run) for run in history.all_runs()]
    assert (newest["folder"], newest["status"]) == ("20261122T020000Z-calm-fox", "failed")
    assert [newest[what] for what in ("computed", "cached", "failed")] == [0, 0, 1]
    assert [oldest[what] for what in ("computed", "cached", "failed")] == [1, 1, 0]
    assert oldest["seconds"] == 4.0
    assert oldest["scores"] == {"comments": {"keras": {"accuracy": 0.75, "f1_macro": 0.5}}}


def test_a_run_goes_by_its_folder_its_name_a_unique_beginning_or_last(home):
    with pytest.raises(UnknownRunError, match="got no runs"):
        find_run("last")
    owl, fox, foxes = (run_folder(*r) for r in (("owl", 1), ("fox", 2), ("foxes", 3)))

    for name in (owl.name, "owl", "o", "20261122T01"):
        assert find_run(name).folder == owl
    assert find_run("fox").folder == fox  # exact, though another begins so
    assert find_run("last").folder == foxes
    with pytest.raises(UnknownRunError, match=r"'fo', got .*-foxes, .*-fox \[NC60\]$"):
        find_run("fo")
    with pytest.raises(UnknownRunError, match="'20261122T04', got none"):
        find_run("20261122T04")


def test_a_damaged_run_file_is_named_not_passed_over(home):
    (run_folder("owl", 1) / "run.json").write_text('{"run_id": ')

    with pytest.raises(ValueError, match=r"owl/run.json: expected a run"):
        history.all_runs()


def test_a_run_whose_process_is_gone_was_killed(home):
    folder = run_folder("owl", 1, status="running")
    assert find_run("owl").status == "killed"

    lock = locks.hold(folder / locks.RUNNING)
    assert find_run("owl").status == "running"
    lock.close()
    assert find_run("owl").status == "killed"


def test_compare_tells_parameters_data_code_libraries_and_scores_apart(home):
    new = with_(KEY, code={"text.clean": "2"}, libraries={"nltk": "3.11"})
    alone = with_(KEY, step="report", code={"pages.render": "1"})
    for key in (KEY, new, alone):
        record(key)
    one = run_folder(
        "one",
        1,
        entry(KEY, 1),
        sources={"comments": {"digest": "a", "rows": 5}},
        metrics={"comments": {"keras": {"accuracy": 0.5, "best_params": {}, "support": [1]}}},
    )
    other = run_folder(
        "other",
        2,
        entry(new, 2),
        entry(alone, 2),
        sources={"comments": {"digest": "b", "rows": 5}},
        metrics={"comments": {"keras": {"accuracy": 0.75}, "linear": {"accuracy": 0.7}}},
        parameters={"seed": 35},
    )

    assert compare(find_run("one"), find_run("other")) == {
        "runs": [one.name, other.name],
        "parameters": {"seed": [34, 35]},
        "data": {"comments.digest": ["a", "b"]},
        "code": {"text.clean": ["clean"]},  # of the step that both came to
        "libraries": {"nltk": ["3.10", "3.11"]},
        "unknown": [],
        "scores": {
            "comments.keras.accuracy": [0.5, 0.75, 0.25],
            "comments.linear.accuracy": [None, 0.7, None],
        },
    }
    same = compare(find_run("one"), find_run("one"))
    assert not any(same[part] for part in ("parameters", "data", "code", "libraries"))
