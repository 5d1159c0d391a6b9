"""Set up a Prefect server: work pool, deployments, and rules about runs that died.

    python -m neural_classifiers.operation.deployments

may be run again at any time: what is there already is brought up to date.
"""

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
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelled

from neural_classifiers.operation.supervisor import POOL, PROJECT

HEARTBEAT_S = 60  # of operation.supervisor
SILENT_S = 5 * HEARTBEAT_S  # a healthy run would have to lose four heartbeats in a row
UNSTARTED_S = 900  # between the worker's first word and the flow's; 5 to 15 s on a busy machine
MISSED_S = 120.0
ENDS = ["Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Paused", "Suspended"]


def deploy() -> list[str]:
    """Make work pool, deployments and automations what the project says; a line for each."""
    with get_client(sync_client=True) as client:
        _make_pool(client)
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


def skip_missed(client: SyncPrefectClient, now: datetime) -> list[FlowRun]:
    """Of the scheduled runs that nobody did in time, leave only the newest of each deployment.

    Returns
    -------
    list of FlowRun
        Those that are skipped now.
    """
    scheduled = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )
    skipped = missed(scheduled, now)
    for run in skipped:
        why = "Missed while no worker was there; the newest missed run is done instead of all."
        client.set_flow_run_state(run.id, Cancelled(name="Skipped", message=why), force=True)
    return skipped


def missed(scheduled: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """The runs to skip: late ones by a schedule, but the newest of each deployment."""
    late: dict[Any, list[FlowRun]] = {}
    for run in scheduled:
        due = run.expected_start_time
        if run.auto_scheduled and due and due < now - timedelta(seconds=MISSED_S):
            late.setdefault(run.deployment_id, []).append(run)
    skipped = []
    for runs in late.values():
        runs.sort(key=lambda run: run.expected_start_time or now)
        skipped += runs[:-1]
    return skipped


def automations() -> list[Automation]:
    """Rules of the server about runs that nobody hears of any more; Retry takes them then."""
    each = ["prefect.resource.id"]
    ends = {f"prefect.flow-run.{end}" for end in ENDS}
    heartbeat = "prefect.flow-run.heartbeat"
    silent = EventTrigger(
        after={heartbeat, "prefect.flow-run.Running"},
        expect={heartbeat, *ends},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each=set(each),
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=SILENT_S),
    )
    unstarted = EventTrigger(
        after={"prefect.flow-run.Pending"},
        expect={"prefect.flow-run.*"},
        match={"prefect.resource.id": ["prefect.flow-run.*"]},
        for_each=set(each),
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=UNSTARTED_S),
    )
    return [
        Automation(
            name="A run that fell silent has crashed",
            description=f"No heartbeat for {SILENT_S} s, where one comes every {HEARTBEAT_S} s.",
            trigger=silent,
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"No heartbeat for {SILENT_S} s: its process is gone. Retry takes it.",
                )
            ],
        ),
        Automation(
            name="A run that never started has crashed",
            description=f"A worker took it {UNSTARTED_S} s ago, and then nothing came.",
            trigger=unstarted,
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"Taken by a worker {UNSTARTED_S} s ago, not started. Retry takes it.",
                )
            ],
        ),
    ]


def _make_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        return


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


def main(arguments: Sequence[str]) -> int:
    """Deploy, skip what was missed, and say so; what `up` runs before it starts the worker."""
    lines = [] if "--only-missed" in arguments else deploy()
    with get_client(sync_client=True) as client:
        skipped = skip_missed(client, datetime.now(UTC))
    if skipped:
        lines.append(f"skipped {len(skipped)} runs that were missed, each but the newest")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
