"""The commands that keep the pipeline running: ``up``, ``down``, ``doctor``."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable

from neural_classifiers.engine.settings import SettingsError, read_settings
from neural_classifiers.operation import supervisor
from neural_classifiers.operation.output import answer


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands to those of the console script."""
    up = add("up", _up, "server with UI, schedules and worker; stays")
    up.add_argument("--port", type=int, help="of the UI (default: 4200)")
    up.add_argument("--server", metavar="URL", help="only a worker, for a server elsewhere")
    add("down", _down, "stop what up started", uses_prefect=False)
    add("doctor", _doctor, "is all well, and what to do where not", uses_prefect=False)


def use_own_prefect() -> None:
    """Point Prefect to the project's own folder, past any proxy, and turn its telemetry off."""
    os.environ |= {"PREFECT_HOME": str(supervisor.home()), **supervisor.past_proxies()}
    for name, value in {**supervisor.SERVER, "TF_CPP_MIN_LOG_LEVEL": "2"}.items():
        os.environ.setdefault(name, value)


def join_what_is_up() -> None:
    """Use the server that `up` started here, unless one is named."""
    if "PREFECT_API_URL" in os.environ:
        return
    if state := supervisor.what_is_up():
        os.environ["PREFECT_API_URL"] = state["api"]
        if auth := read_settings().auth:
            os.environ.setdefault("PREFECT_API_AUTH_STRING", auth.get_secret_value())


def _up(parsed: argparse.Namespace) -> int:
    settings = read_settings()
    auth = settings.auth.get_secret_value() if settings.auth else None
    return supervisor.up(parsed.port or settings.port, auth, parsed.server)


def _down(parsed: argparse.Namespace) -> int:
    state = supervisor.down()
    words = "nothing was up" if state is None else f"stopped {', '.join(state['processes'])}"
    answer(parsed, {"stopped": state}, words)
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from neural_classifiers.operation.doctor import ILL, examine

    use_own_prefect()
    with contextlib.suppress(SettingsError):  # which a row of it says
        join_what_is_up()

    rows = []
    for row in examine():
        rows.append(row._asdict())
        if not parsed.json:
            sys.stdout.write(f"{row.state:<6}{row.what:<11}{row.found}\n")
            sys.stdout.write(f"{'':<17}-> {row.do}\n" if row.do else "")
            sys.stdout.flush()
    if parsed.json:
        sys.stdout.write(json.dumps({"checks": rows}) + "\n")
    return 1 if any(row["state"] == ILL for row in rows) else 0
