"""The fence before Prefect's server: who is answered, and what a page may load."""

import asyncio

import pytest

from neural_classifiers.operation import server
from neural_classifiers.operation.server import fence

OURS = "127.0.0.1:4200"


def asked(path="/", method="GET", alone=False, kind="http", **headers) -> list[dict]:
    """What a server behind the fence sends."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": b"{}"}

    async def send(message):
        sent.append(message)

    names = {"host": OURS, **headers}
    scope = {
        "type": kind,
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in names.items()],
    }
    if kind == "http":
        scope["method"] = method
    asyncio.run(fence(app, alone)(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("status", "what"),
    [
        (200, {}),
        (200, {"origin": f"http://{OURS}"}),
        (200, {"host": "127.0.0.1:5000"}),  # a tunnel's other end
        (421, {"host": "evil.example:4200", "origin": "http://evil.example:4200"}),  # rebound
        (421, {"host": "localhost:4200"}),  # whose ::1 another user may hold
        (421, {"host": "127.0.0.1.evil.example"}),
        (421, {"host": ""}),
        (403, {"origin": "http://evil.example"}),
        (403, {"origin": "null"}),
        (403, {"origin": "http://127.0.0.1:8000"}),  # another user's page
        (404, {"path": "/docs"}),
        (404, {"path": "/api/redoc"}),
        (200, {"path": "/deployments"}),
        (200, {"path": "/api/deployments/", "method": "POST"}),
        (403, {"path": "/api/deployments/", "method": "POST", "alone": True}),
        (403, {"path": "/api/flow_runs/1", "method": "PATCH", "alone": True}),
        (403, {"path": "/api/work_pools/x\n/filter", "method": "POST", "alone": True}),
        (200, {"path": "/api/work_pools/filter", "method": "POST", "alone": True}),
        (200, {"path": "/api/task_runs/", "method": "POST", "alone": True}),
    ],
)
def test_only_pages_of_this_address_are_answered_and_none_that_loads_from_elsewhere(status, what):
    assert asked(**what)[0]["status"] == status


@pytest.mark.parametrize(("is_a_deployments", "status"), [(True, 403), (False, 200)])
def test_a_command_s_server_does_not_start_a_deployment_s_run_again(
    monkeypatch, is_a_deployments, status
):
    async def answer(run_id):
        assert run_id == "1"
        return is_a_deployments

    monkeypatch.setattr(server, "_has_deployment", answer)
    [start, *_] = asked("/api/flow_runs/1/set_state", "POST", alone=True)
    assert start["status"] == status


def test_a_page_may_load_nothing_from_elsewhere_nor_be_framed():
    policy = dict(asked()[0]["headers"])[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self'; img-src 'self' data:;")
    assert "frame-ancestors 'none'" in policy


def test_a_web_socket_of_another_page_is_closed():
    [message] = asked("/api/events/out", kind="websocket", origin="http://evil.example")
    assert message == {"type": "websocket.close", "code": 1008}
