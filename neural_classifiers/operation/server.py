"""Prefect's server behind a fence, on a socket that its parent opened and keeps.

    python -m neural_classifiers.operation.server DESCRIPTOR [--alone]

Prefect itself answers whatever name a page calls it by, and has a second UI that reports to a
service and API docs that load from elsewhere. A server that is `--alone` serves one command: of
what a worker would execute it changes nothing, and it ends with its standard input.
"""

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

from neural_classifiers.engine import locks, own_prefect

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HOST = "127.0.0.1"
SHUTDOWN_S = 5
DOCS = re.compile(r"(?:/api)?/(?:docs|redoc)\b")
ALONE = re.compile(
    r"(?:GET|HEAD|OPTIONS) .*|POST .*/(?:filter|count)"
    r"|POST /api/(?:flows|flow_runs|task_runs|logs|artifacts|events)/?"
    r"|POST /api/(?:flow|task)_runs/[^/]+/set_state|PATCH /api/artifacts/[^/]+"
    r"|WEBSOCKET /api/(?:events|logs)/.*"
)
"""What a flow asks of its server, and no deployment needs."""
FOR_A_WORKER = {"deployment_id", "work_pool_name", "work_queue_name", "job_variables"}
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),  # else a picture tells that it is here
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def fence(app: App, alone: bool = False) -> App:
    """An ASGI app that passes on what may be asked; its pages may load nothing from elsewhere."""

    async def fenced(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        fault = fault_of(scope)
        if alone and not fault:
            fault, receive = await fault_alone(scope, receive)
        if fault:
            return await _refuse(scope, with_headers, *fault)
        return await app(scope, receive, with_headers)

    return fenced


def fault_of(scope: Message) -> tuple[int, str] | None:
    """Status and words for what is not answered; None for what is.

    A page that had its own name point to this machine still calls it by that name, and one of
    another origin says so: neither is let in, whatever it knows.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    host, origin = headers.get("host", ""), headers.get("origin")
    name = host.rpartition(":")[0] or host
    if name != HOST:
        return 421, f"expected the host {HOST}, got {host[:200]!r}: use http://{HOST}, not a name"
    if origin is not None and origin != f"http://{host}":
        return 403, f"expected a page of http://{host}, got one of {origin[:200]!r}"
    if DOCS.match(scope["path"]):
        return 404, "not served: it would load from other machines"
    return None


async def fault_alone(scope: Message, receive: Receive) -> tuple[tuple[int, str] | None, Receive]:
    """As `fault_of`, of what would reach a worker; and what gives the body that was read."""
    path = scope["path"]
    refused = 403, "not changed by a command's own server: neural-classifiers up"
    if not ALONE.fullmatch(f"{scope.get('method', 'WEBSOCKET')} {path}"):
        return refused, receive
    if scope.get("method") != "POST" or not path.startswith("/api/flow_runs"):
        return None, receive
    if path.endswith("/set_state"):
        return (refused if await _has_deployment(path.split("/")[-2]) else None), receive
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    content = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    try:
        body = json.loads(content)
        for_a_worker = path.rstrip("/").endswith("flow_runs") and any(map(body.get, FOR_A_WORKER))
    except (ValueError, AttributeError):
        for_a_worker = False  # Prefect says what is wrong with it
    return (refused if for_a_worker else None), again


async def _has_deployment(run_id: str) -> bool:
    from prefect.server import models
    from prefect.server.database import provide_database_interface

    read: Any = models.flow_runs.read_flow_run
    async with provide_database_interface().session_context() as session:
        run = await read(session=session, flow_run_id=UUID(run_id))
    return run is not None and bool(run.deployment_id or run.work_queue_id)


async def _refuse(scope: Message, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{words}\n".encode()})


def let_writers_wait() -> None:
    """Let each transaction on SQLite take the lock for writing as it begins, and wait for it.

    Prefect begins most as readers. One that writes after another has written since it began fails
    at once with "database is locked", however long it would have waited: a worker's heartbeat does.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin: Any = AioSqliteConfiguration.begin_transaction

    def begin_to_write(self: Any, session: Any, with_for_update: bool = False) -> Any:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_to_write  # type: ignore[method-assign]


def serve(listening: int, alone: bool) -> None:
    """Serve Prefect's API, and its first UI, on a socket given by its descriptor."""
    import prefect
    import uvicorn
    from prefect.server.api.server import create_app

    prefect.__ui_v2_static_path__ = Path(os.devnull, "none")  # else it is served, whatever is set
    let_writers_wait()
    app = fence(create_app(ephemeral=alone, final=True), alone)

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **more: Any) -> None:
            with locks.hold(own_prefect.home() / own_prefect.STARTING) if alone else nullcontext():
                await super().startup(*args, **more)

    level = "error" if alone else "warning"
    server = Server(uvicorn.Config(app, log_level=level, lifespan="on"))

    def end_with_input() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True
        threading.Event().wait(SHUTDOWN_S)
        os._exit(1)

    if alone:
        threading.Thread(target=end_with_input, daemon=True).start()
    with socket.socket(fileno=listening) as sock:
        server.run(sockets=[sock])
    if alone:
        os._exit(0)  # all is stored; to take the interpreter apart would take seconds


if __name__ == "__main__":
    serve(int(sys.argv[1]), "--alone" in sys.argv)
