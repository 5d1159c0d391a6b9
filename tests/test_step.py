"""The layer around a step: its inputs are verified before its body, which opens them by path."""

from pathlib import Path

import pytest
from prefect import flow
from test_history import Written, write_number

from neural_classifiers.engine import paths, runs
from neural_classifiers.engine.history import find_run
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.engine.step import step
from neural_classifiers.operation.resume import resume


@step()
def write_two(folder: Path) -> Written:
    return write_number(folder, 2)


def add_all(numbers: dict[str, list[Written]], folder: Path) -> Written:
    (paths.root() / "a body ran").touch()
    read = [int(each.number.path.read_text()) for some in numbers.values() for each in some]
    return write_number(folder, sum(read))


@step()
def add_here(numbers: dict[str, list[Written]], folder: Path) -> Written:
    return add_all(numbers, folder)


@step(threads=1)
def add_in_a_worker(numbers: dict[str, list[Written]], folder: Path) -> Written:
    return add_all(numbers, folder)


@flow(name="adds", **FLOW)
def adds(in_a_worker: bool) -> Written:
    two = write_two.submit().result()
    if (paths.root() / "damage").exists():
        (paths.root() / "damage").unlink()  # once
        two.number.path.chmod(0o644)
        two.number.path.write_text("3")
    return (add_in_a_worker if in_a_worker else add_here)({"some": [two, two]})


@pytest.mark.parametrize("in_a_worker", [False, True])
def test_a_damaged_input_stops_the_body_and_a_retry_makes_it_again(
    home, prefect_server, in_a_worker
):
    (home / "damage").touch()
    state = adds(in_a_worker, return_state=True)

    assert state.is_failed()
    assert "DamagedFileError" in state.message
    assert "expected sha256" in state.message
    assert not (home / "a body ran").exists()

    state = resume(str(state.state_details.flow_run_id), adds)

    assert state.is_completed()
    steps = [s for s in find_run("last").json["steps"] if s["attempt"] == 2]
    assert [(s["step"], s["hit"]) for s in steps] == [
        ("write_two", False),
        ("add_in_a_worker" if in_a_worker else "add_here", False),
    ]
    [aside] = (paths.cache() / ".aside").iterdir()
    assert (aside / "number.txt").read_text() == "3"


def test_a_caller_outside_a_run_has_no_folder():
    assert runs.current() is None
    with pytest.raises(RuntimeError, match="a flow run that has a folder, found none"):
        runs.run_folder()
