"""Set up a Prefect server: work pool, deployments, and rules about runs that died.

    python -m neural_classifiers.operation.deployments [missed | died]

may be run again at any time: what is there already is brought up to date. With ``missed`` only the
runs are seen to that nobody did in time, with ``died`` also those that a dead worker had taken.
"""

import contextlib
import inspect
import logging
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import yaml
from prefect.automations import Automation, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, PrefectException
from prefect.flows import Flow
from prefect.states import Cancelled, Scheduled
from prefect.utilities.callables import get_parameter_defaults

from neural_classifiers.errors import RefusedError
from neural_classifiers.operation.supervisor import HEARTBEAT_S, POOL, PROJECT, WORKER

SILENT_S = 6 * HEARTBEAT_S  # for other machines' runs: of those here the watcher sees the process
UNSTARTED_S = 900  # between the worker's first word and the flow's; 5 to 15 s on a busy machine
MISSED_S = 120.0
ENDS = ["Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Paused", "Suspended"]


class DeploymentError(RefusedError):
    """A deployment in ``prefect.yaml`` that could not run as it is written."""


def deploy() -> list[str]:
    """Make work pool, deployments and automations what the project says; a line for each.

    Raises
    ------
    DeploymentError
    """
    if found := faults(yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))):
        raise DeploymentError("; ".join(found))
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DeploymentError(f"prefect deploy --all: {done.stdout}{done.stderr}")
        for automation in automations():
            _install(automation)
        lines = []
        for deployment in client.read_deployments():
            flow = client.read_flow(deployment.flow_id)
            when = [_when(s.schedule) for s in deployment.schedules if s.active]
            lines.append(
                f"deployed {flow.name}/{deployment.name}: {', '.join(when) or 'when you start it'}"
            )
        return sorted(lines)


def faults(project: dict[str, Any]) -> list[str]:
    """Parameters in ``prefect.yaml`` that a deployment's flow would not take: name, type, value."""
    return [
        f"prefect.yaml: {deployment['name']}: {fault}"
        for deployment in project["deployments"]
        for given in (deployment, *(deployment.get("schedules") or ()))
        if (fault := _fault(deployment["entrypoint"], given.get("parameters") or {}))
    ]


def _fault(entrypoint: str, given: dict[str, Any]) -> str | None:
    flow: Flow[..., Any] = pkgutil.resolve_name(entrypoint)
    known = inspect.signature(flow.fn).parameters
    if unknown := [name for name in given if name not in known]:
        return f"expected parameters of {flow.name} ({', '.join(known)}), got {', '.join(unknown)}"
    try:
        flow.validate_parameters({**get_parameter_defaults(flow.fn), **given})
    except (PrefectException, ValueError, TypeError) as error:
        return " ".join(str(error).split())
    return None


def scheduled_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """The first 200 runs that are scheduled, the earliest first."""
    return client.read_flow_runs(
        flow_run_filter=_of_type(StateType.SCHEDULED),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )


def workers_online(client: SyncPrefectClient, pool: str) -> list[str]:
    """Names of the workers of a pool that have been heard of lately."""
    workers = client.read_workers_for_work_pool(pool)
    return [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]


def skip_missed(client: SyncPrefectClient) -> int:
    """Of the scheduled runs that nobody did in time, leave only each deployment's newest."""
    skipped = missed(scheduled_runs(client), datetime.now(UTC))
    for run in skipped:
        why = "Missed while no worker was there; the newest missed run is done instead of all."
        client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=why), force=True)
    return len(skipped)


def take_back(client: SyncPrefectClient, worker: str) -> int:
    """Schedule again what a worker that died had taken and not begun; how many runs.

    Left alone while other workers are online: one of them may be about to begin.
    """
    if set(workers_online(client, POOL)) - {worker}:
        return 0
    taken = client.read_flow_runs(flow_run_filter=_of_type(StateType.PENDING))
    for run in taken:
        again: Any = Scheduled(message=f"Taken by {worker}, which died before it began.")
        client.set_flow_run_state(run.id, again, force=True)
    return len(taken)


def _of_type(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


AT_WORK = _of_type(StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""Filter of the runs that a worker has taken and that have not ended."""


def missed(scheduled: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """The runs to skip: late ones by a schedule, but the newest of each deployment."""
    late: dict[Any, list[FlowRun]] = {}
    for run in sorted(scheduled, key=lambda run: run.expected_start_time or now):
        due = run.expected_start_time
        if run.auto_scheduled and due and due < now - timedelta(seconds=MISSED_S):
            late.setdefault(run.deployment_id, []).append(run)
    return [run for runs in late.values() for run in runs[:-1]]


def automations() -> list[Automation]:
    """Rules of the server about runs that nobody hears of any more; Retry takes them then."""
    event = "prefect.flow-run."
    return [
        _crash(
            name="A run that fell silent has crashed",
            description=f"No heartbeat for {SILENT_S} s, where one comes every {HEARTBEAT_S} s.",
            message=f"No heartbeat for {SILENT_S} s: its process is gone. Retry takes it.",
            after={f"{event}heartbeat", f"{event}Running"},
            expect={f"{event}heartbeat", *(f"{event}{end}" for end in ENDS)},
            within_s=SILENT_S,
        ),
        _crash(
            name="A run that never started has crashed",
            description=f"A worker took it {UNSTARTED_S} s ago, and then nothing came.",
            message=f"Taken by a worker {UNSTARTED_S} s ago, not started. Retry takes it.",
            after={f"{event}Pending"},
            expect={f"{event}*"},
            within_s=UNSTARTED_S,
        ),
    ]


def _crash(
    name: str, description: str, message: str, after: set[str], expect: set[str], within_s: float
) -> Automation:
    """A rule that a run has crashed where an event is not followed by another in time."""
    trigger = EventTrigger(
        after=after,
        expect=expect,
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=within_s),
    )
    action = ChangeFlowRunState(state=StateType.CRASHED, message=message)
    return Automation(name=name, description=description, trigger=trigger, actions=[action])


def _install(automation: Automation) -> None:
    try:
        there = cast(Automation, Automation.read(name=automation.name))
    except ValueError:
        automation.create()
        return
    fields = AutomationCore.model_fields
    if any(getattr(there, name) != getattr(automation, name) for name in fields):
        automation.id = there.id
        automation.update()


def _when(schedule: Any) -> str:
    if cron := getattr(schedule, "cron", None):
        return f"{cron} ({schedule.timezone or 'UTC'})"
    return str(getattr(schedule, "interval", None) or schedule)


def main(what: str = "") -> None:
    """Do what `up` asks for before it starts a worker, and after the machine slept."""
    logging.getLogger("prefect.flows").disabled = True  # it prints all parameters of a faulty one
    for line in deploy() if not what else ():
        sys.stdout.write(f"{line}\n")
    with get_client(sync_client=True) as client:
        if what != "missed" and (n := take_back(client, WORKER)):
            sys.stdout.write(f"scheduled {n} runs again that a worker took and did not begin\n")
        if n := skip_missed(client):
            sys.stdout.write(f"skipped {n} runs that were missed, each but the newest\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RefusedError as refused:
        sys.exit(str(refused))
