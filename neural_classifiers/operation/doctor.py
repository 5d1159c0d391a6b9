"""Checks of all that a run here stands on, a row for each, and what to do where one fails.

Nothing is changed by looking. A row is ``well``, ``look`` (it works, and something wants attention)
or ``ill`` (it does not work).
"""

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from packaging.requirements import Requirement
from pydantic import SecretStr

from neural_classifiers.engine import history, locks, own_prefect, paths, run_files
from neural_classifiers.engine.records import ASIDE, LOCKS, RECORD, record_folders
from neural_classifiers.engine.settings import POSTGRESQL, SettingsError, read_settings
from neural_classifiers.operation import supervisor
from neural_classifiers.operation.lookout import ANSWER_S, LATE, Lookout, is_answering, is_open

WELL, LOOK, ILL = "well", "look", "ill"
LOW_GB, FULL_GB = 5.0, 1.0


class Diagnosis(NamedTuple):
    """One check: what was looked at, how it is, what was found, what to do."""

    what: str
    state: str
    found: str
    do: str = ""


def examine() -> Iterator[Diagnosis]:
    """Every check, the ones that others stand on first."""
    yield _versions()
    yield _settings()
    yield _access()
    server = _server()
    yield server
    for what, check in (("worker", _worker), ("schedules", _schedules)):
        answers = server.state == WELL
        yield check() if answers else Diagnosis(what, LOOK, "no server to ask", "as for the server")
    for check in (_database, _last_run, _alerts, _data, _model, _cache, _locks, _disk):
        yield check()


def _versions() -> Diagnosis:
    wrong = []
    for line in (supervisor.PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if not line[:1].isalnum():
            continue
        locked = Requirement(line.rstrip(" \\"))
        if locked.marker and not locked.marker.evaluate():
            continue
        try:
            got = importlib.metadata.version(locked.name)
        except importlib.metadata.PackageNotFoundError:
            got = "none"
        if not locked.specifier.contains(got if got != "none" else "0", prereleases=True):
            wrong.append(f"{locked.name} {got} (locked{locked.specifier})")
    if wrong:
        return Diagnosis(
            "versions", ILL, f"{len(wrong)} differ: {', '.join(wrong[:5])}", "make install"
        )
    return Diagnosis("versions", WELL, "every package is the one of requirements.lock")


def _settings() -> Diagnosis:
    try:
        settings = read_settings()
    except SettingsError as error:
        return Diagnosis("settings", ILL, str(error), "mend the line, or take it out")
    password = "a password of your own" if settings.auth else "the password that `up` makes"
    alerts = "alerts to a webhook" if settings.webhook else "no alerts"
    return Diagnosis("settings", WELL, f"port {settings.port}, {password}, {alerts}")


def _access() -> Diagnosis:
    here = (paths.root() / ".env", own_prefect.home(), paths.cache().parent)
    if opened := [str(path) for path in here if paths.open_to_others(path)]:
        found = f"other users of this machine may read {', '.join(opened)}"
        return Diagnosis(
            "access", LOOK, found, f"chmod go= {' '.join(opened)}, unless they are meant to"
        )
    return Diagnosis("access", WELL, "settings, history and artifacts are for this user alone")


def _server() -> Diagnosis:
    up = own_prefect.what_is_up()
    if up is None and supervisor.was_killed():
        return Diagnosis("server", ILL, "`up` was killed", "make up")
    if up is None:
        return Diagnosis("server", LOOK, "nothing is up", "make up, if there is to be a schedule")
    if not is_answering(up["api"]):
        found = f"no answer from {up['address']}"
        if is_answering(up["api"], "health"):
            found = f"{up['address']} answers, its database does not"
        return Diagnosis(
            "server", ILL, found, "wait a minute: `up` restarts it; else make down, make up"
        )
    if is_open(up["api"]):
        found = f"{up['address']} does what anybody on this machine asks"
        return Diagnosis("server", ILL, found, "give it a password: make down, make up")
    try:
        if "server" in up["processes"]:
            Lookout(up["api"], own_prefect.auth()).waiting()
    except (OSError, ValueError, SettingsError) as error:
        do = "is the disk full, or only read? else make down, make up"
        return Diagnosis("server", ILL, f"{up['address']} answers, and cannot write: {error}", do)
    return Diagnosis("server", WELL, f"{up['address']} answers")


def _database() -> Diagnosis:
    try:
        settings = read_settings()
        found = asyncio.run(_postgresql(settings.database)) if settings.database else _sqlite()
    except (OSError, ValueError, SettingsError, TimeoutError) as error:
        do = "is it up, and NEURAL_CLASSIFIERS_DATABASE right?"
        return Diagnosis("database", ILL, f"no answer: {error}", do)
    return Diagnosis("database", WELL, f"{found}; runs kept for {settings.keep_days:g} days")


def _sqlite() -> str:
    files = list(own_prefect.home().glob("prefect.db*"))  # and its log
    size = sum(file.stat().st_size for file in files) / 1e6
    return f"SQLite {sqlite3.sqlite_version}, {size:,.1f} MB"


async def _postgresql(url: SecretStr) -> str:
    import asyncpg

    plain = url.get_secret_value().replace(POSTGRESQL, "postgresql://")
    try:
        connection = await asyncpg.connect(plain, timeout=ANSWER_S)
        version = await connection.fetchval("SHOW server_version")
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
        await connection.close()
    except asyncpg.PostgresError as error:
        raise ValueError(str(error)) from None
    return f"PostgreSQL {version}, {size / 1e6:,.1f} MB"


def _worker() -> Diagnosis:
    from prefect.client.orchestration import get_client

    from neural_classifiers.operation.deployments import workers_online

    with get_client(sync_client=True) as client:
        online = workers_online(client, supervisor.POOL)
    if not online:
        found = f"none of the pool {supervisor.POOL} is online"
        return Diagnosis("worker", ILL, found, "make down, make up")
    return Diagnosis("worker", WELL, f"online: {', '.join(online)}")


def _schedules() -> Diagnosis:
    from prefect.client.orchestration import get_client

    from neural_classifiers.operation.deployments import AT_WORK, scheduled_runs

    with get_client(sync_client=True) as client:
        deployments, scheduled = client.read_deployments(), scheduled_runs(client)
        at_work = client.read_flow_runs(flow_run_filter=AT_WORK)
    names: dict[UUID | None, str] = {
        deployment.id: deployment.name
        for deployment in deployments
        if any(schedule.active for schedule in deployment.schedules) and not deployment.paused
    }
    if not names:
        do = "make down, make up; or switch a schedule on in the UI"
        return Diagnosis("schedules", LOOK, "none is active", do)
    late: list[str] = []
    planned: dict[str, str] = {}
    for run in scheduled:
        name, due = names.get(run.deployment_id), run.expected_start_time
        if name is None or due is None or not run.auto_scheduled:
            continue
        if datetime.now(UTC) - due > LATE:
            late.append(f"{name} of {due:%Y-%m-%d %H:%M}")
        else:
            planned.setdefault(name, f"{name} next {due:%Y-%m-%d %H:%M} UTC")
    if late:
        do = "another run is at work: wait; or the log of `up`, then make down, make up"
        return Diagnosis("schedules", LOOK if at_work else ILL, f"late: {', '.join(late)}", do)
    if unplanned := [name for name in names.values() if name not in planned]:
        found = f"nothing planned for {', '.join(unplanned)}"
        return Diagnosis("schedules", ILL, found, "make down, make up")
    return Diagnosis("schedules", WELL, ", ".join(planned.values()))


def _last_run() -> Diagnosis:
    try:
        runs = history.all_runs()
    except ValueError as error:
        return Diagnosis(
            "last run", LOOK, str(error), "look at the file, then take its folder away"
        )
    if not runs:
        return Diagnosis("last run", WELL, "none yet")
    run = runs[0]
    found = f"{run.folder.name}: {run.status}"
    if run.status in ("completed", "running"):
        return Diagnosis("last run", WELL, found)
    do = f"neural-classifiers show {run.folder.name}; once mended, Retry or rerun"
    ill = not run.json["attempts"] and run.status != "cancelled"  # so will the next, of a schedule
    return Diagnosis("last run", ILL if ill else LOOK, f"{found}, {run.json['error']}", do)


def _alerts() -> Diagnosis:
    alerts = []
    for folder in run_files.newest_first()[:20]:
        with contextlib.suppress(OSError, ValueError):
            alerts += run_files.read(folder).get("alerts", [])
    lost = [alert for alert in alerts if alert["fault"]]
    if lost:
        found = f"{len(lost)} of {len(alerts)} not delivered in the last 20 runs"
        do = "is NEURAL_CLASSIFIERS_WEBHOOK the right address?"
        return Diagnosis("alerts", LOOK, f"{found}: {lost[0]['fault']}", do)
    return Diagnosis("alerts", WELL, f"{len(alerts)} delivered in the last 20 runs")


def _data() -> Diagnosis:
    from tasks.sources import read_catalogue

    here: list[str] = []
    away: list[str] = []
    for name, entry in read_catalogue(paths.catalogue()).items():
        folder = paths.raw_data() / name
        (here if all((folder / file).is_file() for file in entry.files) else away).append(name)
    found = [f"at hand: {', '.join(here)}"] if here else []
    found += [f"got when first asked for: {', '.join(away)}"] if away else []
    return Diagnosis("data", WELL, "; ".join(found))


def _model() -> Diagnosis:
    from neural_classifiers.serving import registry
    from neural_classifiers.serving.model import KINDS, NotPromotedError

    try:
        serving = [version for kind in KINDS if (version := registry.serving_version(kind))]
    except NotPromotedError as error:
        return Diagnosis("model", ILL, str(error), "put serving.json back from a backup")
    faults = [fault for version in serving if (fault := registry.fault_of(version))]
    if faults:
        do = "neural-classifiers rollback; or put its folder back from a backup"
        return Diagnosis("model", ILL, "; ".join(faults), do)
    found = f"serving, whole: {', '.join(serving)}" if serving else "none serves"
    return Diagnosis("model", WELL, found)


def _cache() -> Diagnosis:
    files = [p for p in paths.cache().rglob("*") if p.is_file()] if paths.cache().is_dir() else []
    size = sum(path.stat().st_size for path in files)
    records = sum((folder / RECORD).is_file() for folder in record_folders(paths.cache()))
    found = f"{records:,} records, {size / 1e6:,.0f} MB"
    aside = list((paths.cache() / ASIDE).glob("*/"))
    if aside:
        do = f"look at {aside[0].parent}, then remove it; neural-classifiers verify tells more"
        return Diagnosis("cache", LOOK, f"{found}; {len(aside)} set aside as damaged", do)
    return Diagnosis("cache", WELL, found)


def _locks() -> Diagnosis:
    """A lock that is really held where the records lie, and refused to a second one."""
    path = paths.cache() / LOCKS / f"doctor-{os.getpid()}"
    try:
        with locks.hold(path):
            works = locks.try_to_hold(path) is None and locks.is_held(path)
        path.unlink()
    except OSError as error:  # a disk that is full or only read, too
        return Diagnosis("locks", ILL, str(error), "put the root on a file system with locks")
    if not works:
        found = f"{path}: a second process may hold what one holds"
        return Diagnosis("locks", ILL, found, "put the root on a file system with locks")
    return Diagnosis("locks", WELL, "held, and refused to a second one, where the records lie")


def _disk() -> Diagnosis:
    free = shutil.disk_usage(paths.root()).free / 1e9
    state = ILL if free < FULL_GB else LOOK if free < LOW_GB else WELL
    do = "" if state == WELL else "neural-classifiers prune --keep-runs 10"
    return Diagnosis("disk", state, f"{free:,.1f} GB free", do)
