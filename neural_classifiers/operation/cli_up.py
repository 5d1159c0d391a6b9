"""The commands that keep the pipeline running: ``up``, ``down``, ``doctor``."""

import argparse
import json
import os
import sys
from typing import Any

from neural_classifiers.operation import supervisor
from neural_classifiers.operation.output import answer


def add_commands(commands: Any, json_option: argparse.ArgumentParser) -> None:
    """Add the commands to those of the console script."""
    options = {"parents": [json_option]}
    up = commands.add_parser("up", **options, help="server with UI, schedules and worker; stays")
    up.add_argument("--port", type=int, help="of the UI (default: 4200)")
    up.add_argument("--server", metavar="URL", help="only a worker, for a server elsewhere")
    up.set_defaults(does=_up)
    down = commands.add_parser("down", **options, help="stop what up started")
    down.set_defaults(does=_down)
    doctor = commands.add_parser("doctor", **options, help="is all well, and what to do where not")
    doctor.set_defaults(does=_doctor)


def join_what_is_up() -> None:
    """Use the server that `up` started here, unless one is named."""
    from neural_classifiers.engine.settings import read_settings

    if "PREFECT_API_URL" in os.environ:
        return
    if state := supervisor.what_is_up():
        os.environ["PREFECT_API_URL"] = state["api"]
        if auth := read_settings().auth:
            os.environ.setdefault("PREFECT_API_AUTH_STRING", auth.get_secret_value())


def _up(parsed: argparse.Namespace) -> int:
    from neural_classifiers.engine.settings import read_settings

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
