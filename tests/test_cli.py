"""The commands: what they print, their exit status, and a run that was killed and goes on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import get_current_settings
from test_history import KEY, Written, entry, record, run_folder, with_, write_number

from neural_classifiers.engine import history, paths
from neural_classifiers.engine.runs import FLOW
from neural_classifiers.engine.step import step
from neural_classifiers.operation import cli

TESTS = Path(__file__).parent


@step()
def start_number(seed: int, folder: Path) -> Written:
    return write_number(folder, seed)


@step()
def wait_long(drawn: Written, folder: Path) -> Written:
    while (paths.root() / "wait").exists():
        time.sleep(0.05)
    return write_number(folder, 1)


@flow(name="first-half", **FLOW)
def first_half(seed: int) -> None:
    start_number(seed)


@flow(name="second-half", **FLOW)
def second_half(seed: int) -> None:
    wait_long(start_number(seed))


@flow(name="waits", **FLOW)
def waits(seed: int) -> None:
    """Flows in a flow, as both halves of the notebook in one run."""
    first_half(seed)
    second_half(seed)


@pytest.fixture(autouse=True)
def own_settings(home):
    """Put back what the console script sets for its process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def said(capsys, *arguments: str, status: int = 0):
    """What a command says as JSON."""
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_every_flow_that_makes_a_run_folder_can_be_rerun():
    for dotted_name in cli.FLOWS.values():
        function = dotted_name.rpartition(".")[2]
        assert cli._flow(dotted_name).name == function.replace("_", "-")


def test_a_killed_run_goes_on_where_it_was(home, prefect_server, monkeypatch, capsys):
    monkeypatch.setitem(cli.FLOWS, "waits", "test_cli.waits")
    (home / "wait").touch()
    environment = os.environ | {
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
        "PREFECT_API_URL": str(get_current_settings().api.url),
        "PREFECT_HOME": str(home / ".prefect"),
    }
    command = [sys.executable, "-c", "from test_cli import waits; waits(1)"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while not list((paths.cache() / ".writing").glob("wait_long-*")):
            assert time.monotonic() < end, (home / "log").read_text()
            assert process.poll() is None, (home / "log").read_text()
            time.sleep(0.1)

        assert said(capsys, "runs")["runs"][0]["status"] == "running"
        assert cli.main(["rerun", "last"]) == 1  # one process a run
        assert cli.main(["prune", "--keep-runs", "1"]) == 1
        refused = capsys.readouterr().err
        assert "expected a run that ended, got one that is running" in refused
        assert "expected no run to be going on" in refused
    finally:
        process.kill()
        process.wait(timeout=30)

    [killed] = said(capsys, "runs")["runs"]
    assert (killed["status"], killed["computed"], killed["cached"]) == ("killed", 1, 1)
    (home / "wait").unlink()
    told = said(capsys, "rerun", "last")

    assert told["status"] == "completed"
    [run] = history.all_runs()  # the same run, the same folder
    assert (str(run.folder), run.json["run_id"]) == (told["folder"], told["run_id"])
    assert (run.status, run.json["attempts"]) == ("completed", 2)
    executed = [(s["step"], s["attempt"], s["hit"]) for s in run.json["steps"]]
    assert executed == [
        ("start_number", 1, False),
        ("start_number", 1, True),
        ("start_number", 2, True),
        ("start_number", 2, True),
        ("wait_long", 2, False),
    ]
    assert [p.name for p in run.folder.iterdir()] == ["run.json"]  # no lock is left
    assert cli.main(["prune", "--keep-runs", "1"]) == 0


def test_a_run_that_prefect_does_not_know_is_refused(home, prefect_server, monkeypatch, capsys):
    run_folder("owl", 1, run_id="00000000-0000-4000-8000-000000000000")

    assert cli.main(["rerun", "owl"]) == 1
    assert "does not know" in capsys.readouterr().err


def test_an_unknown_run_is_a_misspelt_command(capsys):
    run_folder("owl", 1)

    assert cli.main(["show", "fox"]) == 2
    assert "expected one run by the name 'fox', got none" in capsys.readouterr().err


def test_each_command_speaks_to_people_and_to_programs(home, tmp_path, capsys):
    new = with_(KEY, parameters={"seed": 35, "fold": 0})
    folder = record(KEY)
    record(new)
    metrics = {"comments": {"keras": {"accuracy": 0.75}}}
    run_folder("owl", 1, entry(KEY, 1), metrics=metrics)
    run_folder("fox", 2, entry(KEY, 2, hit=True), entry(new, 2), parameters={"seed": 35})
    to = str(tmp_path / "owl.zip")
    commands = {
        ("runs",): "keras 0.7500",
        ("show", "fox"): "parameters.seed: 34 -> 35",
        ("compare", "owl", "fox"): "parameters.seed: 34 -> 35",
        ("verify",): "2 records",
        ("prune", "--keep-runs", "1", "--dry-run"): "nothing would be removed, 0 bytes; 2 records",
        ("export", "owl", "--to", to): "1 records",
    }
    for command, expected in commands.items():
        assert cli.main(command) == 0
        assert expected in capsys.readouterr().out
        assert isinstance(said(capsys, *command), dict)

    (folder / "number.txt").write_text("damage")
    assert cli.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "number.txt: expected sha256" in out
    assert "1 faults" in out
    assert len(said(capsys, "verify", status=1)["faults"]) == 1


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_prune_wants_to_know_how_many_runs_to_keep(count, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["prune", "--keep-runs", count])
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("what", "told", "expected"),
    [
        ("comments", "all", "all"),
        ("comments", "9", 9),
        ("all", "all", "all"),
        ("digits", "all", None),
    ],
)
def test_everything_can_be_taken_without_counting_it(what, told, expected):
    asked = cli.parser().parse_args(["run", what, "--sample", told])
    assert cli.parameters_of(asked) == {"sample": expected}
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["run", what, "--sample", "every"])


@pytest.mark.parametrize(
    ("what", "option"),
    [
        ("all", "--promote"),
        ("all", "--cleaning notebook"),
        ("comments", "--seeds 1 2"),
        ("digits", "--time-column when"),
        ("digits", "--categories sports"),
    ],
)
def test_an_option_that_the_flow_does_not_have_is_refused(what, option, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", what, *option.split()])
    assert ended.value.code == 2
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


def test_seed_0_is_a_seed_and_an_option_is_called_as_the_parameter_that_it_sets():
    asked = cli.parser().parse_args(["run", "digits", "--seeds", "0", "1"])
    assert cli.parameters_of(asked) == {"seeds": [0, 1]}
    for what, dotted_name in cli.FLOWS.items():
        run = cli.parser()._subparsers._group_actions[0].choices["run"]
        options = run._subparsers._group_actions[0].choices[what]._actions
        named = {option.dest for option in options} - {"help", "json"}
        assert named <= set(cli._flow(dotted_name).parameters.properties)


def test_run_alone_means_all(monkeypatch):
    asked = []
    monkeypatch.setattr(
        cli, "_run", lambda parsed: asked.append((parsed.what, cli.parameters_of(parsed))) or 0
    )
    assert (cli.main(["run"]), cli.main(["run", "--sample", "9"])) == (0, 0)
    assert asked == [("all", {}), ("all", {"sample": 9})]
