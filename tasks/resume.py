"""Continue a flow run that failed or was killed: the same run, the same folder, one attempt more.

Steps look for their records, so what is there is Cached, and what failed or is missing is done.
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow
from prefect.flows import Flow
from prefect.states import Crashed, Scheduled, State

from tasks import server

POLL_S = 2.0


class NotResumableError(RuntimeError):
    """A run cannot be continued: says why."""


def resume(
    run_id: str, flow: Flow[..., Any], waiting: Callable[[], None] = lambda: None
) -> State[Any]:
    """The final state of a flow run, executed again.

    Parameters
    ----------
    run_id : str
        Of a root run whose process is dead; the caller has seen to that.
    flow : Flow
        The run's flow, as it is now.
    waiting : callable, optional
        Called once if a worker is to do it: the run belongs to a deployment. Else it is
        done in this process.

    Raises
    ------
    NotResumableError
        If Prefect does not know the run, or a deployment's run has no server to wait at.
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
        if deployed and server.is_temporary():
            raise NotResumableError(
                "expected PREFECT_API_URL, the server whose worker does this deployment's runs"
            )
        flow_run = _scheduled(client, flow_run)
        if deployed:
            waiting()
            return _awaited(client, flow_run.id)
    return run_flow(flow, flow_run, return_type="state")  # type: ignore[return-value]


def _scheduled(client: SyncPrefectClient, flow_run: FlowRun) -> FlowRun:
    """The run, ready to start; one that a kill left Running is told to have crashed first."""
    if flow_run.state is None or not flow_run.state.is_final():
        crashed: State[Any] = Crashed(message="The process of this run was killed.")
        client.set_flow_run_state(flow_run.id, crashed, force=True)
    client.set_flow_run_state(flow_run.id, Scheduled(message="Rerun"), force=True)
    return client.read_flow_run(flow_run.id)


def _awaited(client: SyncPrefectClient, flow_run_id: UUID) -> State[Any]:
    while True:
        state = client.read_flow_run(flow_run_id).state
        if state is not None and state.is_final():
            return state
        time.sleep(POLL_S)
