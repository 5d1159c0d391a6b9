"""Branches side by side: what succeeded, what failed and its name, how the flow ends."""

import json
from pathlib import Path

import pytest
from prefect import flow, task

from neural_classifiers.engine.branches import Branches
from neural_classifiers.engine.records import Reference
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.engine.step import UNRECORDED, step

pytestmark = pytest.mark.usefixtures("home", "prefect_server")


class Doubled(Reference):
    number: int


@step(task_run_name="double-{number}")
def double(number: int, folder: Path) -> Doubled:
    if number < 0:
        raise ValueError(f"expected a number from 0, got {number}")
    return Doubled(number=2 * number)


@step()
def add_one(doubled: Doubled, folder: Path) -> Doubled:
    return Doubled(number=doubled.number + 1)


@task(**UNRECORDED)
def greet(name: str) -> str:
    return f"hello {name}"


SEEN: dict[str, object] = {}


@flow(name="side-by-side", **FLOW)
def side_by_side(numbers: list[int]):
    branches = Branches()
    doubled = {str(n): branches.submit(double, n) for n in numbers}
    added = {name: branches.submit(add_one, future) for name, future in doubled.items()}
    SEEN["doubled"] = {name: d.number for name, d in branches.succeeded(doubled).items()}
    SEEN["added"] = {name: a.number for name, a in branches.succeeded(added).items()}
    SEEN["first"] = branches.result(doubled[str(numbers[0])])
    SEEN["failures"] = branches.failures()
    return branches.finish()


@flow(name="two-halves", **FLOW)
def two_halves(one: list[int], other: list[int]):
    branches = Branches()
    branches.run(side_by_side, one)
    branches.run(side_by_side, other)
    return branches.finish()


@flow(name="without-a-folder")
def without_a_folder(number: int):
    branches = Branches()
    branches.submit(greet, name="you")  # a step may have a parameter of any name
    branches.submit(double, number)
    return branches.finish("all greeted")


def test_one_that_fails_stops_no_other_and_is_named(home):
    state = side_by_side([-3, 1, 2], return_state=True)

    assert SEEN["doubled"] == {"1": 2, "2": 4}
    assert SEEN["added"] == {"1": 3, "2": 5}
    assert SEEN["first"] is None
    assert list(SEEN["failures"]) == ["double--3"]  # not add_one, which only waited for it
    assert state.is_failed()
    assert state.message.startswith("double--3: ")
    assert "expected a number from 0, got -3" in state.message
    (run,) = (home / "artifacts" / "runs").glob("*/run.json")
    assert json.loads(run.read_bytes())["failed"] == ["double--3"]


def test_a_run_that_completes_tells_what_it_computed(home):
    assert side_by_side([1, 2], return_state=True).message == (
        "4 of 4 steps computed, 0 from the cache"
    )
    assert side_by_side([1, 2], return_state=True).message == (
        "nothing new: all 4 steps came from the cache"
    )


def test_a_flow_within_a_flow_fails_under_its_own_name(home):
    state = two_halves([1], [-1], return_state=True)

    assert state.is_failed()
    assert state.message.startswith("side-by-side: double--1: ")
    (run,) = (home / "artifacts" / "runs").glob("*/run.json")
    assert json.loads(run.read_bytes())["failed"] == ["double--1", "side-by-side"]


def test_a_flow_without_a_folder_ends_in_its_own_words():
    assert without_a_folder(1, return_state=True).message == "all greeted"
    assert without_a_folder(-1, return_state=True).message.startswith("double--1: ")
