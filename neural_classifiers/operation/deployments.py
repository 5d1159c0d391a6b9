"""Set up a Prefect server: work pool, deployments, and rules about runs that died.

    python -m neural_classifiers.operation.deployments

may be run again at any time: what is there already is brought up to date.
"""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

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
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelled

from neural_classifiers.operation.supervisor import HEARTBEAT_S, POOL, PROJECT

SILENT_S = 5 * HEARTBEAT_S  # a healthy run would have to lose four heartbeats in a row
UNSTARTED_S = 900  # between the worker's first word and the flow's; 5 to 15 s on a busy machine
MISSED_S = 120.0
ENDS = ["Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Paused", "Suspended"]


def deploy() -> list[str]:
    """Make work pool, deployments and automations what the project says; a line for each."""
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
            raise RuntimeError(f"prefect deploy --all: {done.stdout}{done.stderr}")
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


def scheduled_runs(client: SyncPrefectClient) -> list[FlowRun]:
    """The first 200 runs that are scheduled, the earliest first."""
    of_type = FlowRunFilterStateType(any_=[StateType.SCHEDULED])
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=of_type)),
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


if __name__ == "__main__":  # run by `up` before it starts the worker
    for line in deploy() if "--only-missed" not in sys.argv else ():
        sys.stdout.write(f"{line}\n")
    with get_client(sync_client=True) as client:
        if n_skipped := skip_missed(client):
            sys.stdout.write(f"skipped {n_skipped} runs that were missed, each but the newest\n")
