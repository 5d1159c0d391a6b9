"""Alerts: what a run has to tell, and a webhook that fails, hangs or is not there."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from prefect import flow

from neural_classifiers.engine import alerts, run_files
from neural_classifiers.engine.runs import FLOW


class Webhook(BaseHTTPRequestHandler):
    """Answers with the statuses of a list, the last one again and again."""

    statuses: ClassVar[list[int]] = []
    told: ClassVar[list[dict]] = []
    wait_s = 0.0

    def do_POST(self):
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        time.sleep(self.wait_s)  # the next test may have begun when it ends
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        """Nothing: the tests look at what was posted."""


@pytest.fixture
def webhook(monkeypatch):
    monkeypatch.setattr(alerts, "WAITS_S", (0, 0, 0))
    Webhook.statuses[:], Webhook.told[:], Webhook.wait_s = [200], [], 0.0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()


def run(status: str, name: str = "owl", **more):
    told = {"flow": "f", "name": name, "status": status, "error": "it broke", "parameters": {}}
    return told | {"earlier": [], "attempts": 1} | more


def metrics(accuracy: float, n: int = 1000):
    right = round(accuracy * n)
    return {"comments": {"keras": {"accuracy": accuracy, "confusion_matrix": [[right, n - right]]}}}


def kinds(*told):
    return [event for event, _ in alerts.events(*told)]


def test_a_failure_and_a_crash_are_told_and_a_cancelled_run_is_not():
    assert kinds(run("failed"), {}, []) == ["failed"]
    assert kinds(run("timedout"), {}, []) == ["failed"]
    assert kinds(run("crashed"), {}, []) == ["crashed"]
    assert kinds(run("cancelled"), {}, []) == []
    assert kinds(run("cancelled", attempts=0), {}, []) == ["cancelled"]  # by nobody's hand
    [(_, sentence)] = alerts.events(run("failed"), {}, [])
    assert sentence == "f (owl) failed: it broke"


@pytest.mark.parametrize("bad", ["failed", "crashed", "running"])
def test_a_recovery_is_told_once(bad):
    broken, well = (run(bad), {}), (run("completed"), metrics(0.8))
    assert kinds(run("completed"), metrics(0.8), [broken, well]) == ["recovered"]
    assert kinds(run("completed"), metrics(0.8), [well, broken]) == []
    assert kinds(run("completed"), metrics(0.8), []) == []


def test_a_retried_run_that_completes_has_recovered():
    assert kinds(run("completed", earlier=["completed", "failed"]), {}, []) == ["recovered"]
    assert kinds(run("completed", earlier=["failed", "cancelled"]), {}, []) == []


def test_a_model_is_worse_when_chance_does_not_explain_it():
    # two sets of 1,000: the standard error is sqrt(2 * 0.79 * 0.21 / 1000) = 0.018
    before = [(run("completed", "hen"), metrics(0.80))]
    assert kinds(run("completed"), metrics(0.77), before) == []
    assert kinds(run("completed"), metrics(0.76), before) == ["worse"]
    assert kinds(run("completed"), metrics(0.90), before) == []
    [(_, sentence)] = alerts.events(run("completed"), metrics(0.7), before)
    assert sentence == "f (owl) gave worse models than hen: comments.keras 0.8000 -> 0.7000"


def test_only_runs_of_the_same_parameters_are_compared():
    trial = (run("completed", parameters={"sample": 60}), metrics(1.0))
    refreshed = (run("completed", parameters={"refresh": ["x"]}), metrics(1.0))
    assert kinds(run("completed"), metrics(0.7), [trial]) == []
    assert kinds(run("completed"), metrics(0.7), [trial, refreshed]) == ["worse"]


@pytest.mark.parametrize(
    ("statuses", "tries", "fault"),
    [
        ([500, 503, 200], 3, None),
        ([500], 4, "expected status 2xx, got 500"),
        ([404], 1, "expected status 2xx, got 404"),  # it would say the same again
        ([302], 1, "expected status 2xx, got 302"),  # a redirect is not followed
    ],
    ids=["it recovers", "it stays broken", "it refuses", "it points elsewhere"],
)
def test_a_webhook_is_tried_four_times_unless_it_takes_or_refuses(webhook, statuses, tries, fault):
    Webhook.statuses[:] = statuses
    assert alerts.send(webhook, {"text": "hello"}) == fault
    assert Webhook.told == [{"text": "hello"}] * tries


def test_a_webhook_that_hangs_costs_its_time_limit(webhook, monkeypatch):
    monkeypatch.setattr(alerts, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(alerts, "WAITS_S", (0,))
    Webhook.wait_s = 2
    began = time.monotonic()
    fault = alerts.send(webhook, {})
    assert "expected an answer within 0.2 s" in fault
    assert time.monotonic() - began < 1.5


def test_a_webhook_that_is_not_there_is_told_so(webhook):
    assert "refused" in alerts.send("http://127.0.0.1:9/", {})


@flow(name="breaks", **FLOW)
def breaks(well: bool):
    if not well:
        raise ValueError("expected a fish, got a bicycle")


def test_a_run_tells_its_failure_and_its_recovery_and_never_fails_by_it(
    home, prefect_server, webhook, monkeypatch
):
    monkeypatch.setattr(alerts, "WAITS_S", ())
    (home / ".env").write_text(f"NEURAL_CLASSIFIERS_WEBHOOK={webhook}\n")  # instead of a variable
    Webhook.statuses[:] = [200, 500]
    failed = breaks(False, return_state=True)
    assert breaks(False, return_state=True).is_failed()

    [told, undelivered] = Webhook.told
    assert (told["event"], told["flow"], told["status"]) == ("failed", "breaks", "failed")
    assert told["run_id"] == str(failed.state_details.flow_run_id)
    assert "got a bicycle" in told["text"]
    assert undelivered["event"] == "failed"
    second, first = (run_files.read(f)["alerts"] for f in run_files.newest_first())
    faults = sorted([first[0]["fault"] or "", second[0]["fault"] or ""])
    assert faults == ["", "expected status 2xx, got 500"]
