"""A Prefect server for the length of a command, where none was named.

Prefect starts one itself when it is first asked for something, on a port that it guesses free,
after importing the whole server here (2 s), and leaves it running when it is killed. This one
starts while the flows are still being imported, on a socket that is ours from the beginning, and
ends with the process that wanted it, by whatever death.
"""

import atexit
import http.client
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from neural_classifiers.engine import locks
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import supervisor

STARTUP_S = 300  # the first start makes the database: 16 s on an idle machine
SHUTDOWN_S = 5
ANSWER_S = 10

_temporary: list[str] = []


class ServerDiedError(RefusedError):
    """The server that was named is not there, or the temporary one gave no answer in time."""


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
        return lambda: _expect(named)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "neural_classifiers.operation.temporary_server",
                str(listening.fileno()),
            ],
            env=os.environ | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"},
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,  # its end tells the server that we are gone
            start_new_session=True,  # Ctrl-C is for the flow, which has yet to tell how it ended
        )
    os.environ |= {"PREFECT_API_URL": url, "PREFECT_UI_URL": ""}  # it serves no UI to point at
    _temporary.append(url)
    atexit.register(_stop, process)  # before any of Prefect's, so it is called after them
    return lambda: _wait(url)


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
        process.wait(SHUTDOWN_S + 1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(listening: int) -> None:
    """Serve Prefect's API on a socket, by its descriptor, until standard input ends."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, *sockets: Any, **more: Any) -> None:
            with locks.hold(supervisor.home() / supervisor.STARTING):
                await super().startup(*sockets, **more)

    server = Server(
        uvicorn.Config(
            "prefect.server.api.server:create_app",
            factory=True,
            fd=listening,
            log_level="error",
            lifespan="on",
        )
    )

    def end() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True
        threading.Event().wait(SHUTDOWN_S)
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
    server.run()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
