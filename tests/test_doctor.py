"""The doctor: what is ill is found, and told with what to do."""

import json
import shutil
from collections import namedtuple

import made_models
import pytest
from test_history import KEY, record, run_folder

from neural_classifiers.engine import locks, paths
from neural_classifiers.operation import cli, doctor
from neural_classifiers.serving import registry


@pytest.fixture
def rows(home):
    return lambda: {row.what: row for row in doctor.examine()}


def test_a_fresh_checkout_lacks_a_server_only(rows):
    found = rows()
    states = {name: row.state for name, row in found.items() if row.state != doctor.WELL}
    assert states == dict.fromkeys(("server", "worker", "schedules"), doctor.LOOK)
    assert all(bool(row.do) == (row.state != doctor.WELL) for row in found.values())
    assert found["server"].do.startswith("make up")


def test_an_up_that_was_killed_is_ill(rows, home):
    (home / ".prefect").mkdir()
    (home / ".prefect" / "up.json").write_text('{"address": "http://127.0.0.1:4200"}')
    row = rows()["server"]
    assert (row.state, row.found, row.do) == (doctor.ILL, "`up` was killed", "make up")


def test_a_version_that_is_not_the_locked_one_is_named(rows, monkeypatch, tmp_path):
    (tmp_path / "requirements.lock").write_text(
        "prefect==1.0 \\\n    --hash=sha256:0\nno-such-package==2 ; python_version < '3' \\\n"
        "absent-package==3 \\\npsutil>=1\n"
    )
    monkeypatch.setattr(doctor.supervisor, "PROJECT", tmp_path)
    row = rows()["versions"]
    assert (row.state, row.do) == (doctor.ILL, "make install")
    assert row.found.startswith("2 differ: prefect ")
    assert "absent-package none (locked==3)" in row.found
    assert "no-such-package" not in row.found


def test_a_setting_that_cannot_be_is_named(rows, home):
    (home / ".env").write_text("NEURAL_CLASSIFIERS_PORT=many\n")
    assert "NEURAL_CLASSIFIERS_PORT" in rows()["settings"].found
    assert rows()["settings"].state == doctor.ILL


def test_what_others_may_read_is_told(rows, home):
    (home / ".env").touch(0o600)
    for name in (".prefect", "artifacts"):
        (home / name).mkdir(mode=0o700)
    assert rows()["access"].state == doctor.WELL
    (home / ".env").chmod(0o640)
    (home / "artifacts").chmod(0o755)
    row = rows()["access"]
    assert (row.state, row.do.split(",")[0]) == (
        doctor.LOOK,
        f"chmod go= {home / '.env'} {home / 'artifacts'}",
    )


def test_a_server_without_a_password_is_ill(rows, monkeypatch):
    up = {"api": "http://127.0.0.1:1/api", "address": "http://127.0.0.1:1"}
    monkeypatch.setattr(doctor.own_prefect, "what_is_up", lambda: up)
    monkeypatch.setattr(doctor, "is_answering", lambda api: True)
    monkeypatch.setattr(doctor, "is_open", lambda api: True)
    assert doctor._server().state == doctor.ILL


def test_a_last_run_that_failed_and_an_alert_that_was_lost_are_told(rows):
    folder = run_folder("owl", 1, status="failed", error="it broke")
    told = json.loads((folder / "run.json").read_bytes())
    told["alerts"] = [{"event": "failed", "attempt": 1, "fault": "expected status 2xx, got 500"}]
    (folder / "run.json").write_text(json.dumps(told))

    assert rows()["last run"].state == rows()["alerts"].state == doctor.LOOK
    assert "it broke" in rows()["last run"].found
    assert "1 of 1 not delivered" in rows()["alerts"].found


def test_records_set_aside_as_damaged_are_told(rows):
    record(KEY)
    assert rows()["cache"].found.startswith("1 records")
    (paths.cache() / ".aside" / "step-0").mkdir(parents=True)
    assert rows()["cache"].state == doctor.LOOK


@pytest.mark.parametrize(("free_gb", "state"), [(50, "well"), (4, "look"), (0.5, "ill")])
def test_a_disk_that_fills_is_told(rows, monkeypatch, free_gb, state):
    usage = namedtuple("usage", "total used free")(0, 0, int(free_gb * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert rows()["disk"].state == state


def test_the_command_ends_with_1_while_something_is_ill(home, capsys):
    assert cli.main(["doctor"]) == 0
    (home / ".env").write_text("NEURAL_CLASSIFIERS_PORT=many\n")
    assert cli.main(["doctor"]) == 1
    assert "-> make up" in capsys.readouterr().out
    assert cli.main(["doctor", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["checks"]) == 14


def test_a_damaged_model_that_serves_is_ill(rows, home):
    version = made_models.serve(home)
    assert rows()["model"].found == f"serving, whole: {version}"
    damaged = registry.version_folder(version) / "seen.npz"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1])

    row = rows()["model"]
    assert row.state == doctor.ILL
    assert f"{version}: seen.npz: expected sha256" in row.found
    assert row.do.startswith("neural-classifiers rollback")


def test_a_damaged_list_of_what_serves_is_ill_and_named(rows, home, capsys):
    made_models.serve(home)
    path = paths.models() / "serving.json"
    path.write_bytes(path.read_bytes()[:-20])

    assert rows()["model"].state == doctor.ILL
    assert "serving.json: expected the versions that serve" in rows()["model"].found
    assert cli.main(["predict", "a goal"]) == 1
    assert "serving.json: expected the versions that serve" in capsys.readouterr().err


def test_a_wrong_line_of_env_is_said_while_up_runs_too(home, monkeypatch, capsys):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (home / ".prefect").mkdir()
    up = {"api": "http://127.0.0.1:1/api", "pid": 1, "processes": {"server": {}}}
    (home / ".prefect" / "up.json").write_text(json.dumps(up))
    (home / ".env").write_text("NEURAL_CLASSIFIERS_WEBHOK=http://127.0.0.1:1\n")
    with locks.hold(home / ".prefect" / "up.lock"):
        assert cli.main(["runs"]) == 1
        assert "WEBHOK" in capsys.readouterr().err
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        monkeypatch.setattr(doctor, "examine", lambda: iter([doctor._settings()]))
        assert cli.main(["doctor"]) == 1
        assert "WEBHOK" in capsys.readouterr().out
