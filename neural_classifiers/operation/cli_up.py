"""The commands that keep the pipeline running: ``up``, ``down``, ``doctor``."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable

from neural_classifiers.engine import own_prefect, paths
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


def _up(parsed: argparse.Namespace) -> int:
    settings = read_settings()
    if parsed.server:  # it has a password of its own
        auth = settings.auth.get_secret_value() if settings.auth else None
    else:
        if own_prefect.make_auth() and sys.stdout.isatty():  # else a journal would keep it
            sys.stdout.write(f"made a password to sign in with: {own_prefect.auth()}\n")
        auth = own_prefect.auth()
    return supervisor.up(parsed.port or settings.port, auth, parsed.server)


def _down(parsed: argparse.Namespace) -> int:
    state = supervisor.down()
    words = "nothing was up" if state is None else f"stopped {', '.join(state['processes'])}"
    answer(parsed, {"stopped": state}, words)
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from neural_classifiers.operation.doctor import ILL, examine

    own_prefect.enter()
    paths.enter_project()
    with contextlib.suppress(SettingsError):  # which a row of it says
        own_prefect.join()

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
