"""Branches of a flow that run side by side: what succeeded, what failed and its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.states import State

from neural_classifiers.engine.step import name_of


def succeeded(futures: Mapping[str, PrefectFuture[Any]]) -> dict[str, Any]:
    """The results of those branches that ended well."""
    return {name: f.result() for name, f in futures.items() if f.state.is_completed()}


def failures(branches: Sequence[PrefectFuture[Any] | State]) -> dict[str, str]:
    """Name and message of each task or flow that failed, those only waiting for one left out."""
    failed = {}
    for branch in branches:
        state = branch if isinstance(branch, State) else branch.state
        if not state.is_completed() and state.name != "NotReady":
            failed[_name_of(branch)] = state.message or str(state.name)
    return failed


def _name_of(branch: PrefectFuture[Any] | State) -> str:
    """A task run's name; of a flow run the flow's, since its own is made up."""
    if not isinstance(branch, State) and (name := name_of(branch.task_run_id)):
        return name  # the server may not know it yet: it writes task runs when it gets to it
    with get_client(sync_client=True) as client:
        if not isinstance(branch, State):
            return client.read_task_run(branch.task_run_id).name
        flow_run_id = branch.state_details.flow_run_id
        if flow_run_id is None:
            raise ValueError("expected the state of a flow run, got one without its id")
        return client.read_flow(client.read_flow_run(flow_run_id).flow_id).name
