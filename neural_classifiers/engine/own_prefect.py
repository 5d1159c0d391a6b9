"""Prefect as this project has it: a folder of its own, no telemetry, a server that asks who it is.

All that is variables of the environment, which Prefect reads when it is imported, so they are set
before. Nothing here imports Prefect unless it is there already.
"""

import contextlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from neural_classifiers.engine import locks, paths
from neural_classifiers.engine.settings import read_settings

STARTING = "starting.lock"  # held by a server that makes its database, or brings it up to date
SERVER = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "neural_classifiers.operation.leases",
}
"""Variables of every server here: that of `up`, and that of a command."""


def home() -> Path:
    """Prefect's own files of this project."""
    return paths.root() / ".prefect"


def enter() -> None:
    """Point Prefect to the project's own folder, past any proxy, and turn its telemetry off.

    Processes that are started from now on import nothing from the folder that they start in.
    """
    paths.make_private(home())
    os.environ |= {"PYTHONSAFEPATH": "1", "PREFECT_HOME": str(home()), **past_proxies()}
    os.environ["PREFECT_PROFILES_PATH"] = str(home() / "profiles.toml")
    for name, value in {**SERVER, "TF_CPP_MIN_LOG_LEVEL": "2"}.items():
        os.environ.setdefault(name, value)


def join() -> None:
    """Use the server that ``up`` started here, unless one is named."""
    if "PREFECT_API_URL" not in os.environ and (state := what_is_up()):
        os.environ["PREFECT_API_URL"] = state["api"]
        if "server" in state["processes"] and (known := auth()):
            os.environ.setdefault("PREFECT_API_AUTH_STRING", known)


def enter_from_python() -> None:
    """Do what the commands do, for flows that are called as functions.

    Where no server is up, the one that Prefect then starts for the length of the program asks for
    a password that nobody else has.
    """
    enter()
    join()
    if "PREFECT_API_URL" not in os.environ:
        alone = guarded("http://127.0.0.1", new_auth())
        alone["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "300"  # it makes its database
        for name, value in alone.items():
            os.environ.setdefault(name, value)
    if "prefect" in sys.modules:  # it has read its settings
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def guarded(origin: str, auth: str) -> dict[str, str]:
    """Variables by which a server answers only who knows `auth`, and no page but its own."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origin,
    }


def auth() -> str | None:
    """``user:password`` of the server here: the setting, else what was made; None before that."""
    if setting := read_settings().auth:
        return setting.get_secret_value()
    with contextlib.suppress(FileNotFoundError):
        return auth_file().read_text("utf-8").strip() or None  # a kill left it empty
    return None


def make_auth() -> bool:
    """Make a password where there is none; whether one was made."""
    paths.make_private(home())
    with locks.locked(home()):
        if auth() is not None:
            return False
        handle = os.open(auth_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{new_auth()}\n")
        return True


def auth_file() -> Path:
    """The file of the password that was made."""
    return home() / "auth"


def where_auth() -> str:
    """Where the password stands, for who is to sign in."""
    return "NEURAL_CLASSIFIERS_AUTH" if read_settings().auth else str(auth_file())


def new_auth() -> str:
    """Make up a ``user:password``."""
    return f"operator:{secrets.token_urlsafe(24)}"


def what_is_up() -> dict[str, Any] | None:
    """``pid``, ``address``, ``api``, ``processes`` of what `up` started here; None if nothing."""
    return read_state() if locks.is_held(home() / "up.lock") else None


def read_state() -> dict[str, Any] | None:
    """The same, also of an `up` that was killed."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads((home() / "up.json").read_bytes())
    return None


def storage() -> dict[str, str]:
    """Variables that tell a server where to keep its runs, and for how long."""
    settings = read_settings()
    variables = {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(settings.keep_days * 86400),
    }
    if settings.database:
        variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = settings.database.get_secret_value()
    return variables


def past_proxies() -> dict[str, str]:
    """Variables by which nobody here asks a proxy for this machine's loopback."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if named != "*":  # for all
        here = ("127.0.0.1", "localhost")
        named = ",".join(dict.fromkeys([*filter(None, named.split(",")), *here]))
    return {"no_proxy": named, "NO_PROXY": named}
