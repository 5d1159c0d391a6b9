"""Tell a webhook when a run failed, crashed, recovered, or gave a worse model than last time.

Its address is the setting ``NEURAL_CLASSIFIERS_WEBHOOK``; without it nothing is sent. What is sent
is a JSON object whose ``text`` is a sentence, which chat programs show as it is. Delivery is tried
four times within about half a minute. Runs come in here as what their ``run.json`` says.
"""

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from neural_classifiers.engine.decline import worse_models

TIMEOUT_S = 5.0
WAITS_S = (1.0, 3.0, 9.0)  # before the second, third and fourth try
BAD = {"failed", "crashed", "timedout", "running"}  # running: killed, and nobody could tell


def events(
    run: Mapping[str, Any],
    metrics: Mapping[str, Any],
    earlier: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> list[tuple[str, str]]:
    """What a run that ended has to tell: ``failed``, ``crashed``, ``recovered``, ``worse``.

    Parameters
    ----------
    run, metrics
        Of the run.
    earlier
        The same of the runs before it, the newest first. Only those of the same flow with the same
        parameters count, so that a trial on few rows is never the measure of the nightly run.

    Returns
    -------
    list of (str, str)
        Event and a sentence.
    """
    name, status = f"{run['flow']} ({run['name']})", run["status"]
    if status in BAD:
        return [(_kind(status), f"{name} {_kind(status)}: {run['error']}")]
    if status != "completed":
        return []
    told = []
    alike = [pair for pair in earlier if _likeness(pair[0]) == _likeness(run)]
    last = run["earlier"][-1] if run.get("earlier") else alike[0][0]["status"] if alike else None
    if last in BAD:
        told.append(("recovered", f"{name} completed; before, it {_kind(last)}"))
    good = next((pair for pair in alike if pair[0]["status"] == "completed"), None)
    if good and (fallen := worse_models(good[1], metrics)):
        falls = "; ".join(f"{model} {old:.4f} -> {new:.4f}" for model, (old, new) in fallen.items())
        told.append(("worse", f"{name} gave worse models than {good[0]['name']}: {falls}"))
    return told


def message(event: str, sentence: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted."""
    told = ("flow", "name", "run_id", "status", "error", "attempts", "started", "finished")
    return {
        "text": sentence,
        "event": event,
        **{name: run[name] for name in told},
        "host": socket.gethostname(),
    }


def send(
    webhook: str,
    body: Mapping[str, Any],
    timeout_s: float = TIMEOUT_S,
    waits_s: tuple[float, ...] | None = None,
) -> str | None:
    """Post a JSON object; None when it was taken, else why it was not after the last try."""
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "neural-classifiers"}
    fault: str | None = None
    for wait_s in (0.0, *(WAITS_S if waits_s is None else waits_s)):
        time.sleep(wait_s)
        try:
            request = urllib.request.Request(webhook, data, headers)
            with urllib.request.urlopen(request, timeout=timeout_s):
                return None
        except urllib.error.HTTPError as error:
            fault = f"expected status 2xx, got {error.code}"
            if 400 <= error.code < 500 and error.code not in (408, 429):
                return fault  # it would say the same again
        except (OSError, http.client.HTTPException) as error:
            fault = f"expected an answer within {timeout_s:g} s, got {error!r}"
    return fault


def _likeness(run: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    told = {name: value for name, value in run["parameters"].items() if name != "refresh"}
    return run["flow"], told


def _kind(status: str) -> str:
    return "failed" if status in ("failed", "timedout") else "crashed"
