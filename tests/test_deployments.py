"""What a server is told: only the newest of missed runs, and rules that are installed once."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import Failed, Pending, Scheduled

from neural_classifiers.engine import history
from neural_classifiers.operation import deployments, doctor, resume

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday


def scheduled(deployment_id, hours: float, auto: bool = True) -> FlowRun:
    due = NOW - timedelta(hours=hours)
    return FlowRun(
        flow_id=uuid4(),
        deployment_id=deployment_id,
        expected_start_time=due,
        auto_scheduled=auto,
        state=Scheduled(scheduled_time=due),
    )


def test_after_a_weekend_without_a_worker_one_run_is_made():
    nightly, weekly = uuid4(), uuid4()
    nights = [scheduled(nightly, hours) for hours in (53.5, 29.5, 5.5)]  # Saturday to Monday
    tonight = scheduled(nightly, -18.5)
    by_hand = scheduled(nightly, 48, auto=False)
    digits = scheduled(weekly, 27.5)

    skipped = deployments.missed([by_hand, *nights, digits, tonight], NOW)

    assert skipped == nights[:2]


def test_a_run_that_is_a_little_late_is_not_missed():
    nightly = uuid4()
    due = [scheduled(nightly, minutes / 60) for minutes in (1.5, 0.5)]
    assert deployments.missed(due, NOW) == []


def test_the_rules_about_silent_runs_are_installed_once_and_brought_up_to_date(
    prefect_server, monkeypatch
):
    def there():
        with get_client(sync_client=True) as client:
            answer = client.request("POST", "/automations/filter", json={})
        return {rule["name"]: rule for rule in answer.json()}

    for rule in deployments.automations():
        deployments._install(rule)
    first = there()
    for rule in deployments.automations():
        deployments._install(rule)
    assert {n: (r["id"], r["updated"]) for n, r in there().items()} == {
        n: (r["id"], r["updated"]) for n, r in first.items()
    }

    monkeypatch.setattr(deployments, "SILENT_S", 600)
    for rule in deployments.automations():
        deployments._install(rule)
    name = "A run that fell silent has crashed"
    assert there()[name]["id"] == first[name]["id"]
    assert there()[name]["trigger"]["within"] == pytest.approx(600)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2027-03-27", ["27 02:30+01:00", "28 03:30+02:00", "29 02:30+02:00"]),  # 28: no 02:30
        ("2026-10-24", ["24 02:30+02:00", "25 02:30+02:00", "26 02:30+01:00"]),  # 25: two of them
    ],
)
def test_a_night_has_one_run_when_the_clocks_change_too(day, expected):
    nightly = CronSchedule(cron="30 2 * * *", timezone="Europe/Berlin")
    due = asyncio.run(nightly.get_dates(3, start=datetime.fromisoformat(f"{day}T00:00:00Z")))
    assert [str(at)[8:16] + str(at)[19:] for at in due] == expected


@pytest.mark.parametrize(
    ("at", "name", "value", "found"),
    [
        (0, "lable_column", "team", "nightly: expected parameters of classify-comments"),
        (1, "seeds", "many", "weekly: Flow run received invalid parameters: - seeds: Input"),
        (3, "format", "xls", "incoming: Flow run received invalid parameters: - format: Input"),
    ],
)
def test_a_parameter_that_a_flow_would_not_take_is_found_before_it_is_deployed(
    at, name, value, found
):
    project = yaml.safe_load((deployments.PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    assert deployments.faults(project) == []
    deployment = project["deployments"][at]
    deployment.setdefault("schedules", [{}])[0]["parameters"] = {name: value}
    [fault] = deployments.faults(project)
    assert fault.startswith(f"prefect.yaml: {found}")


@flow
def waits() -> None:
    """Never run: of its runs only the states are looked at."""


def test_what_a_dead_worker_had_taken_is_scheduled_again_while_no_other_is_there(
    prefect_server, monkeypatch
):
    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run(waits, state=Pending()) for _ in range(2)]
        monkeypatch.setattr(deployments, "workers_online", lambda *_: ["dead", "other"])
        assert deployments.take_back(client, "dead") == 0
        monkeypatch.setattr(deployments, "workers_online", lambda *_: ["dead"])
        assert deployments.take_back(client, "dead") == 2
        assert {client.read_flow_run(run.id).state.name for run in runs} == {"Scheduled"}


def test_a_run_that_ended_before_it_began_has_a_folder_once(home, prefect_server):
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(waits, state=Pending())
        client.set_flow_run_state(run.id, Failed(message="no such parameter"), force=True)
        assert client.read_flow_run(run.id).run_count == 0  # what `lookout` asks for
    said = resume.note_unbegun(str(run.id))
    assert said == f"waits ({run.name}) failed before it began: no such parameter"
    assert resume.note_unbegun(str(run.id)) is None
    [noted] = history.all_runs()
    assert (noted.status, noted.json["attempts"]) == ("failed", 0)
    assert doctor._last_run().state == doctor.ILL
