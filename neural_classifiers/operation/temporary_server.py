"""A Prefect server for the length of a command, where none was named.

Prefect starts one itself when it is first asked for something, on a port that it guesses free,
after importing the whole server here (2 s), and leaves it running when it is killed. This one
starts while the flows are still being imported, on a socket that is ours from the beginning,
answers nobody but the process that wanted it, and ends with it, by whatever death. Its runs are in
the database that `up` uses and show there, but it changes nothing that a worker executes.
"""

import atexit
import contextlib
import http.client
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

from neural_classifiers.engine import own_prefect
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import server

STARTUP_S = 300  # the first start makes the database: 16 s on an idle machine
ANSWER_S = 10
ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    # those of `up`, which crash a run without heartbeats, lie in the same database
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}

_temporary: list[str] = []


class ServerDiedError(RefusedError):
    """The server that was named is not there, or the temporary one gave no answer in time."""

    code = "NC81"


def is_temporary() -> bool:
    """Whether the server that Prefect uses here is one of this command's own."""
    return os.environ.get("PREFECT_API_URL") in _temporary


def start() -> Callable[[], None]:
    """Name a server in ``PREFECT_API_URL``, unless one stands there; what is returned waits for it.

    Call it before Prefect is imported, since Prefect reads its settings then. The server ends
    with this process, after Prefect has sent it the last lines of the log.

    Raises
    ------
    ServerDiedError
        By what is returned.
    """
    if named := os.environ.get("PREFECT_API_URL"):
        return lambda: (_wait if named in _temporary else _expect)(named)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        guarded = own_prefect.guarded(address, own_prefect.new_auth())
        process = subprocess.Popen(
            [sys.executable, "-m", server.__name__, str(listening.fileno()), "--alone"],
            env=os.environ | own_prefect.storage() | guarded | ENVIRONMENT,
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,  # its end tells the server that we are gone
            start_new_session=True,  # Ctrl-C is for the flow, which has yet to tell how it ended
        )
    url = f"{address}/api"
    os.environ["PREFECT_API_AUTH_STRING"] = guarded["PREFECT_API_AUTH_STRING"]
    os.environ |= {"PREFECT_API_URL": url, "PREFECT_UI_URL": ""}  # it serves no UI to point at
    _temporary.append(url)
    atexit.register(_stop, process)  # before any of Prefect's, so it is called after them
    return lambda: _wait(url)


@contextlib.contextmanager
def without_heartbeats() -> Iterator[None]:
    """Settings of Prefect while a flow runs: no heartbeats where the server is temporary.

    Nobody listens for them there, and each flow waits a second for the end of its own.
    """
    from prefect.settings import temporary_settings

    with temporary_settings({"flows.heartbeat_frequency": None} if is_temporary() else {}):
        yield


def _expect(url: str) -> None:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=ANSWER_S).close()
    except urllib.error.HTTPError:
        pass  # it answers, if only those it knows
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ServerDiedError(
            f"PREFECT_API_URL: expected a Prefect server at {url}, got {error}; start it, or "
            "unset the variable: a command without it has a server of its own"
        ) from None


def _wait(url: str) -> None:
    try:  # what is asked early waits in the socket's queue
        with urllib.request.urlopen(f"{url}/health", timeout=STARTUP_S) as answer:
            answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServerDiedError(
            f"expected Prefect's server to answer within {STARTUP_S:g} s, got {error}"
        ) from None


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(server.SHUTDOWN_S + 1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
