"""A server looked at in plain HTTP, so that whoever watches it need not import Prefect.

What is looked for: runs that ended before they began, which no folder and no alert tells of; runs
that wait though nothing is at work; a server that answers and cannot write.
"""

import base64
import json
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

ANSWER_S = 10.0
LATE = timedelta(minutes=10)  # of a run that nobody does, while nothing else is done
BACK = timedelta(days=2)
AT_WORK = ("RUNNING", "PENDING", "CANCELLING")
OTHER_AT_WORK = "Deployment concurrency limit reached."  # Prefect's words


def is_answering(api: str, asked: str = "ready", timeout_s: float = ANSWER_S) -> bool:
    """Whether a server is ``ready``, its database too, or at least in good ``health``.

    It is asked what needs no password, at the address of its API.
    """
    try:
        with urllib.request.urlopen(f"{api}/{asked}", timeout=timeout_s) as answer:
            return answer.read() in (b"true", b'{"message":"OK"}')
    except (OSError, ValueError):
        return False


def is_open(api: str) -> bool:
    """Whether a server answers without a password what needs one."""
    try:
        with urllib.request.urlopen(f"{api}/admin/version", timeout=ANSWER_S):
            return True
    except OSError:  # a refusal, too
        return False


class Lookout:
    """A server at the address of its API, for one who knows its ``user:password``.

    Every method raises OSError or ValueError where the server does not answer as it should.
    """

    def __init__(self, api: str, auth: str | None) -> None:
        self._api, self._client = api, str(uuid4())
        self._headers = {"Content-Type": "application/json", "Prefect-Csrf-Client": self._client}
        if auth:
            known = base64.b64encode(auth.encode()).decode()
            self._headers["Authorization"] = f"Basic {known}"

    def unbegun(self) -> list[str]:
        """Ids of the deployments' runs that failed or crashed without having begun, lately.

        Those too that were cancelled because another run of the deployment was at work.
        """
        ended = {"state": {"type": {"any_": ["FAILED", "CRASHED", "CANCELLED"]}}}
        deployed = {"deployment_id": {"is_null_": False}}
        since = {"end_time": {"after_": (datetime.now(UTC) - BACK).isoformat()}}
        runs = self._filter(ended | deployed | since)
        return [
            run["id"]
            for run in runs
            if run["run_count"] == 0  # its time of start is that of its end
            and (run["state"]["type"] != "CANCELLED" or run["state"]["message"] == OTHER_AT_WORK)
        ]

    def waiting(self) -> list[str]:
        """Names of the runs that are late although nothing is at work."""
        if self._filter({"state": {"type": {"any_": AT_WORK}}}):
            return []
        due = {"before_": (datetime.now(UTC) - LATE).isoformat()}
        late = {"state": {"type": {"any_": ["SCHEDULED"]}}, "next_scheduled_start_time": due}
        return [run["name"] for run in self._filter(late)]

    def _filter(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """The first 200 flow runs; asks for a token first, which the server has to write down."""
        token = self._ask(f"csrf-token?client={self._client}")["token"]
        body = {"flow_runs": wanted, "limit": 200}
        return self._ask("flow_runs/filter", json.dumps(body).encode(), token)

    def _ask(self, path: str, body: bytes | None = None, token: str = "") -> Any:
        headers = self._headers | ({"Prefect-Csrf-Token": token} if token else {})
        request = urllib.request.Request(f"{self._api}/{path}", body, headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return json.loads(answer.read())
