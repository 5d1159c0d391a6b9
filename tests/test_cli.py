"""The commands: what they print, their exit status, and a run that was killed and goes on."""

import json
import os
import pkgutil
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import get_current_settings
from test_history import KEY, Written, entry, record, run_folder, with_, write_number

from neural_classifiers.comments.models.grids import IMPROVED_GRIDS
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
def own_home(home):
    """A root of its own for every test here."""


def said(capsys, *arguments: str, status: int = 0):
    """What a command says as JSON."""
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_every_flow_that_makes_a_run_folder_can_be_rerun():
    for dotted_name in cli.FLOWS.values():
        function = dotted_name.rpartition(".")[2]
        assert pkgutil.resolve_name(dotted_name).name == function.replace("_", "-")


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
    assert [p.name for p in run.folder.glob("[!.]*")] == ["run.json"]
    assert not (run.folder / ".running").exists()
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
        Path(to).unlink(missing_ok=True)
        assert isinstance(said(capsys, *command), dict)

    (folder / "number.txt").write_text("damage")
    assert cli.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "number.txt: expected sha256" in out
    assert "1 faults" in out
    assert len(said(capsys, "verify", status=1)["faults"]) == 1


def test_a_reader_that_goes_away_or_knows_ascii_only_costs_a_command_nothing(tmp_path):
    (tmp_path / "words.py").write_text(
        "from neural_classifiers.operation import output\n"
        "output.outlive_readers()\n"
        "for n in range(100_000): print(n, 'caf\\u00e9 \\udce9')\n"
        "open('done', 'w').close()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent), "PYTHONIOENCODING": "ascii"}
    command = subprocess.Popen(
        [sys.executable, "words.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout.readline() == b"0 caf? ?\n"
    command.stdout.close()
    assert (command.stderr.read(), command.wait(60)) == (b"", 0)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ("run", {}),
        ("run --sample 9", {"sample": 9}),
        ("run all --sample all", {"sample": "all"}),
        ("run comments --sample all", {"sample": "all"}),
        ("run comments --sample 9", {"sample": 9}),
        ("run comments --improved", {"improved_grids": IMPROVED_GRIDS}),
        ("run digits --sample all", {"sample": None}),
        ("run digits --seeds 0 1", {"seeds": [0, 1]}),
    ],
)
def test_an_option_sets_a_parameter_of_the_flow_and_run_alone_means_all(words, parameters):
    parsed = cli.parse(words.split())
    assert parsed.what == next(iter(re.findall("comments|digits", words)), "all")
    assert cli.parameters_of(parsed) == parameters


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run all --promote", "unrecognized arguments: --promote"),
        ("run all --cleaning notebook", "unrecognized arguments: --cleaning notebook"),
        ("run comments --seeds 1 2", "unrecognized arguments: --seeds 1 2"),
        ("run digits --time-column when", "unrecognized arguments: --time-column when"),
        ("run digits --categories sports", "unrecognized arguments: --categories sports"),
        ("run comments --sample every", "expected a whole number above 0, got 'every'"),
        ("run digits --seeds -1", "expected a whole number, 0 or above, got '-1'"),
        ("prune --keep-runs 0", "expected a whole number above 0, got '0'"),
        ("prune --keep-runs x", "expected a whole number above 0, got 'x'"),
        ("prune", "the following arguments are required: --keep-runs"),
    ],
)
def test_an_option_that_cannot_be_is_refused(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_every_option_is_called_as_the_parameter_that_it_sets():
    run = cli.parser()._subparsers._group_actions[0].choices["run"]
    for what, dotted_name in cli.FLOWS.items():
        options = run._subparsers._group_actions[0].choices[what]._actions
        named = {option.dest for option in options} - {"help", "json"}
        assert named <= set(pkgutil.resolve_name(dotted_name).parameters.properties)
