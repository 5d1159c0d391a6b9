"""Whatever lies in the folder that one works in, or in one's home: ours runs, and sends nothing."""

import ipaddress
import json
import os
import subprocess
import sys

import pytest
import small_flow
from operated import COMMAND

EVIL = """
version: 1
formatters: {{x: {{"()": subprocess.check_output, args: [touch, {marker}]}}}}
handlers: {{h: {{class: logging.StreamHandler, formatter: x}}}}
root: {{handlers: [h]}}
"""


@pytest.fixture
def environment(tmp_path):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return keep | {"NEURAL_CLASSIFIERS_HOME": str(tmp_path), "HOME": str(tmp_path / "user")}


def test_a_command_takes_neither_modules_nor_settings_from_the_folder_of_the_data(
    tmp_path, environment
):
    folder, marker = tmp_path / "folder", tmp_path / "marker"
    (folder / "tasks").mkdir(parents=True)
    for module in ("tasks/__init__", "multiprocessing", "uvicorn", "prefect", "pip"):
        (folder / f"{module}.py").write_text(f"open({str(marker)!r}, 'w')")
    (folder / "evil.yml").write_text(EVIL.format(marker=marker))
    (folder / "prefect.toml").write_text('[logging]\nconfig_path = "evil.yml"\n')
    (folder / ".env").write_text("PREFECT_LOGGING_CONFIG_PATH=evil.yml\n")
    (folder / "c.jsonl").write_text('{"cat": "a"}\n' * 10)

    command = [COMMAND, "run", "comments", "--source", "c.jsonl"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )

    assert "expected a field 'txt'" in done.stdout + done.stderr
    assert not marker.exists()


CALL = """
from flows.predict import predict_comments
from prefect.settings import get_current_settings

assert predict_comments(return_state=True).is_completed()
told = get_current_settings()
print(told.home, bool(told.server.api.auth_string), told.server.analytics_enabled)
"""


def test_a_flow_called_from_python_uses_the_project_s_prefect_and_sends_nothing(
    tmp_path, environment
):
    profile = tmp_path / "user" / ".prefect" / "profiles.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text('active = "c"\n[profiles.c]\nPREFECT_API_URL = "https://evil.example/api"\n')
    (tmp_path / "audit").mkdir()
    (tmp_path / "sitecustomize.py").write_text(small_flow.WATCH)
    watched = {"PYTHONPATH": f"{tmp_path}:{small_flow.ROOT}", "AUDIT": str(tmp_path / "audit")}
    (tmp_path / "call.py").write_text(CALL)

    done = subprocess.run(
        [sys.executable, tmp_path / "call.py"],
        env=environment | watched,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / ".prefect"), "True", "False"]
    assert (tmp_path / ".prefect" / "prefect.db").exists()
    noted = [file.read_text().splitlines() for file in (tmp_path / "audit").iterdir()]
    assert len(noted) >= 2  # the program, and the server that it starts
    for event, told, family in (json.loads(line) for lines in noted for line in lines):
        if event in ("socket.connect", "socket.sendto") and family != "AF_UNIX":
            address = told.strip("()").split(",")[0].strip("'")
            assert ipaddress.ip_address(address).is_loopback, told
        elif event.startswith("socket.get"):
            assert told in ("127.0.0.1", "::1", "localhost", "", "None"), told
