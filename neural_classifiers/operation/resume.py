"""Continue a flow run that failed or was killed: the same run, the same folder, one attempt more.

Steps look for their records, so what is there is Cached, and what failed or is missing is done.

    python -m neural_classifiers.operation.resume RUN_ID [unbegun]

closes a run whose process is gone, or notes one that ended before it began; the watcher of
`operation.supervisor` does so.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.states import Cancelled, Crashed, Scheduled, State

from neural_classifiers.engine import run_files, runs
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import temporary_server
from neural_classifiers.operation.deployments import workers_online

POLL_S, ALONE_S = 1.0, 60.0
HOOKS = timedelta(seconds=60)


class NotResumableError(RefusedError):
    """A run that cannot be continued."""

    code = "NC62"


def resume(run_id: str, flow: Flow[..., Any]) -> State[Any]:
    """The final state of a flow run, executed again: here, or by a worker if a deployment's.

    What such a run is waiting for goes to standard error. It is a root run whose process is dead;
    the caller has seen to that. `flow` is its flow, as it is now.

    Raises
    ------
    NotResumableError
        If Prefect does not know the run, or a deployment's run has no server to wait at, or no
        worker is there to do it.
    """
    with get_client(sync_client=True) as client:
        try:
            flow_run = client.read_flow_run(UUID(run_id))
        except ObjectNotFound:
            raise NotResumableError(
                f"expected a flow run {run_id}, which {client.api_url} does not know; "
                "a new run with the same parameters finds the same records"
            ) from None
        deployed = flow_run.deployment_id is not None
        if deployed and temporary_server.is_temporary():
            raise NotResumableError(
                "expected a server whose worker does this deployment's runs: `up` starts both, "
                "PREFECT_API_URL names another"
            )
        flow_run = _scheduled(client, flow_run)
        if deployed:
            return _awaited(client, flow_run)
    return run_flow(flow, flow_run, return_type="state")  # type: ignore[return-value]


def _scheduled(client: SyncPrefectClient, flow_run: FlowRun) -> FlowRun:
    """The run, ready to start; one that a kill left Running is closed as crashed first."""
    if flow_run.state is None or not flow_run.state.is_final():
        crashed: State[Any] = Crashed(message="The process of this run was killed.")
        client.set_flow_run_state(flow_run.id, crashed, force=True)
    client.set_flow_run_state(flow_run.id, Scheduled(message="Rerun"), force=True)
    return client.read_flow_run(flow_run.id)


def _awaited(client: SyncPrefectClient, flow_run: FlowRun) -> State[Any]:
    """The final state; while there is no worker, waited for a minute only."""
    reported, alone_since = "", time.monotonic()
    while True:
        state = client.read_flow_run(flow_run.id).state
        if state is not None and state.is_final():
            _wait_for_hooks(str(flow_run.id))
            return state
        name = str(state.name) if state else "without a state"
        if name != reported:
            sys.stderr.write(f"waiting for the deployment's worker: {flow_run.name}: {name}\n")
            reported = name
        pool = flow_run.work_pool_name or ""
        if state is None or not state.is_scheduled() or workers_online(client, pool):
            alone_since = time.monotonic()
        elif time.monotonic() - alone_since > ALONE_S:
            raise NotResumableError(
                f"expected a worker of the pool {pool!r}, got none within "
                f"{ALONE_S:g} s; the run is scheduled, a worker that comes (`up`) does it"
            )
        time.sleep(POLL_S)


def _wait_for_hooks(run_id: str) -> None:
    """Until the run's folder, if it is here, says its end: written after Prefect knows of it."""
    end = time.monotonic() + HOOKS.total_seconds()
    while time.monotonic() < end:
        folder = run_files.find_folder(run_id)
        if folder is None or run_files.read(folder)["finished"] is not None:
            return
        time.sleep(POLL_S / 10)


def close_lost(run_id: str) -> str | None:
    """Close a run whose process is gone, as crashed; a line for the log, None if it was too early.

    The worker that lost the process of a deployment's run, or ended it to cancel it, reports so
    itself, within seconds, and its hooks take some more: such a run is left to it for a while.
    """
    crashed: State[Any] = Crashed(message="The process of this run is gone. Retry takes it.")
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run_id)).state
        except ObjectNotFound:
            state = crashed  # of another server, in a folder of ours
        is_cancelling = state is not None and state.is_cancelling()
        is_left = is_cancelling or (state is not None and state.is_final())
        if (
            state
            and state is not crashed
            and is_left
            and datetime.now(UTC) - state.timestamp < HOOKS
        ):
            return None
        if state is None or not state.is_final():
            state = Cancelled(message=crashed.message) if is_cancelling else crashed
            client.set_flow_run_state(UUID(run_id), state, force=True)
    runs.end_run(run_id, state)
    return f"the process of run {run_id} is gone; it is {state.name.lower() if state.name else ''}"


def note_unbegun(run_id: str) -> str | None:
    """Note a deployment's run that ended before it began; a line for the log, None if it is noted.

    Such a run has no folder, so that nobody would hear of it: its parameters were no good, its flow
    could not be imported, or another run of the deployment was at work.
    """
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run_id))
        name, state = client.read_flow(flow_run.flow_id).name, flow_run.state
    if state is None or not state.is_final() or run_files.find_folder(run_id):
        return None
    runs.note_unbegun(name, flow_run, state)
    return f"{name} ({flow_run.name}) {state.type.value.lower()} before it began: {state.message}"


if __name__ == "__main__":
    action = note_unbegun if sys.argv[2:] else close_lost
    sys.stdout.write(f"{action(sys.argv[1]) or ''}\n")
