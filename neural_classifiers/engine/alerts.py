"""Tell a webhook when a run failed, crashed, recovered, or gave a worse model than last time.

Its address is the setting ``NEURAL_CLASSIFIERS_WEBHOOK``; without it nothing is sent. What is sent
is a JSON object whose ``text`` is a sentence, which chat programs show as it is. Delivery is tried
four times within about half a minute. Runs come in here as what their ``run.json`` says.
"""

import math
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from neural_classifiers.engine.settings import SettingsError, read_settings

TIMEOUT_S = 5.0
WAITS_S = (1.0, 3.0, 9.0)  # before the second, third and fourth try
BAD = {"failed", "crashed", "timedout", "running"}  # running: killed, and nobody could write it
STANDARD_ERRORS = 2.0  # a fall this large comes by chance once in 44 runs, if nothing changed


def events(
    run: Mapping[str, Any],
    metrics: Mapping[str, Any],
    earlier: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> list[tuple[str, str]]:
    """Alerts of a run that ended: ``failed``, ``crashed``, ``cancelled``, ``recovered``, ``worse``.

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
    if status == "cancelled" and not run["attempts"]:  # by nobody's hand: another was at work
        return [("cancelled", f"{name} did not begin: {run['error']}")]
    if status != "completed":
        return []
    happened = []
    alike = [pair for pair in earlier if _likeness(pair[0]) == _likeness(run)]
    last = run["earlier"][-1] if run["earlier"] else alike[0][0]["status"] if alike else None
    if last in BAD:
        happened.append(("recovered", f"{name} completed; before, it {_kind(last)}"))
    good = next((pair for pair in alike if pair[0]["status"] == "completed"), None)
    if good and (fallen := worse_models(good[1], metrics)):
        falls = "; ".join(f"{model} {old:.4f} -> {new:.4f}" for model, (old, new) in fallen.items())
        happened.append(("worse", f"{name} gave worse models than {good[0]['name']}: {falls}"))
    return happened


def deliver(event: str, sentence: str, run: Mapping[str, Any] = {}) -> dict[str, Any] | None:
    """Post an alert where a webhook is set, with what ``run.json`` says of its run; else None.

    Returns
    -------
    dict or None
        ``event``, and ``fault``: why it was not taken, None if it was.
    """
    try:
        webhook = read_settings().webhook
    except SettingsError as error:
        sys.stderr.write(f"no alerts: {error}\n")
        return None
    if webhook is None:
        return None
    facts = ("flow", "name", "run_id", "status", "error", "attempts", "started", "finished")
    body = {"text": sentence, "event": event, **{name: run[name] for name in facts if run}}
    fault = send(str(webhook), body | {"host": socket.gethostname()})
    sys.stderr.write(f"alert, {event}: {fault or 'delivered'}\n")
    return {"event": event, "fault": fault}


def send(webhook: str, body: Mapping[str, Any]) -> str | None:
    """Post a JSON object; None when it was taken, else why it was not after the last try."""
    fault: str | None = None
    for wait_s in (0.0, *WAITS_S):
        time.sleep(wait_s)
        try:
            agent = {"User-Agent": "neural-classifiers"}
            response = httpx.post(webhook, json=dict(body), headers=agent, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            fault = (
                f"expected an answer within {TIMEOUT_S:g} s, got {type(error).__name__}: {error}"
            )
            continue
        if response.is_success:
            return None
        fault = f"expected status 2xx, got {response.status_code}"
        if not response.is_server_error and response.status_code not in (408, 429):
            return fault  # it would say the same again; elsewhere, nobody was meant
    return fault


def worse_models(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[float]]:
    """The models whose accuracy on the test set fell: ``half.model`` to the two accuracies.

    Of two ``metrics.json``; models that only one has are left out. The sum of a model's
    ``confusion_matrix`` is the size of its test set.

    Notes
    -----
    Two test sets of different nights are two samples, so the difference of two accuracies has
    the standard error of two proportions. A fall counts when it is more than two of those:
    on 900 comments at 0.78, below 0.74.
    """
    fallen = {}
    for half, models in after.items():
        for model, scores in models.items():
            earlier = before.get(half, {}).get(model)
            if earlier is None:
                continue
            (old, n_old), (new, n_new) = _accuracy(earlier), _accuracy(scores)
            if old - new > STANDARD_ERRORS * _standard_error(old, n_old, new, n_new):
                fallen[f"{half}.{model}"] = [old, new]
    return fallen


def _likeness(run: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    parameters = {name: value for name, value in run["parameters"].items() if name != "refresh"}
    return run["flow"], parameters


def _kind(status: str) -> str:
    return "failed" if status in ("failed", "timedout") else "crashed"


def _accuracy(scores: Mapping[str, Any]) -> tuple[float, int]:
    accuracy = scores["accuracy"] if "accuracy" in scores else scores["test_accuracy"]
    return float(accuracy), sum(sum(row) for row in scores["confusion_matrix"])


def _standard_error(p: float, n: int, q: float, m: int) -> float:
    pooled = (p * n + q * m) / (n + m)
    return math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
