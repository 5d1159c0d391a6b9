"""Size of Prefect's database over a simulated year of nightly and hourly runs.

    python benchmarks/growth.py NIGHTLY.DB HOURLY.DB [--keep-days 90]

Of two databases of SQLite (or one, named twice) the largest completed run is copied once a night
and the smallest once an hour into a copy of the first; each week Prefect's own vacuum does what the
server would have it do.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import NAMESPACE_OID, uuid5

OF_A_RUN = {
    "flow_run": "id = ?",
    "flow_run_state": "flow_run_id = ?",
    "task_run": "flow_run_id = ?",
    "task_run_state": "task_run_id IN (SELECT id FROM task_run WHERE flow_run_id = ?)",
    "log": "flow_run_id = ?",
    "artifact": "flow_run_id = ?",
    "events": "id IN (SELECT event_id FROM event_resources WHERE resource_id = ?)",
    "event_resources": "event_id IN (SELECT event_id FROM event_resources WHERE resource_id = ?)",
}
"""The tables that grow with runs, and which of their rows belong to one."""
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DAYS = 365
PAGES = "page_count", "page_size"


class Template:
    """The rows of a run, to be copied as those of another at another time."""

    def __init__(self, database: sqlite3.Connection, run: str) -> None:
        self.tables: dict[str, list[Mapping[str, Any]]] = {}
        for table, which in OF_A_RUN.items():
            of = f"prefect.flow-run.{run}" if table.startswith("event") else run
            rows = database.execute(f"SELECT * FROM {table} WHERE {which}", (of,))
            self.tables[table] = [dict(row) for row in rows]
        self.ids = {row["id"] for rows in self.tables.values() for row in rows}
        self.ended = datetime.fromisoformat(self.tables["flow_run"][0]["end_time"])

    def copy(self, database: sqlite3.Connection, number: int, ended: datetime) -> None:
        """Insert it as run `number`, which ended then."""
        by = ended - self.ended
        new = {old: str(uuid5(NAMESPACE_OID, f"{old} {number}")) for old in self.ids}

        def changed(name: str, value: Any) -> Any:
            if not isinstance(value, str) or len(value) < 10:
                return value
            if name == "idempotency_key":
                return str(number)
            if value[:2] == "20" and value[4:5] == "-" and value[10:11] == " ":
                return str(datetime.fromisoformat(value) + by)
            return ID.sub(lambda found: new.get(found[0], found[0]), value)

        for table, rows in self.tables.items():
            for row in rows:
                names = ", ".join(row)
                marks = ", ".join("?" * len(row))
                values = [changed(*item) for item in row.items()]
                database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)


def template(path: Path, order: str) -> Template:
    """The completed run of the fewest tasks, or of the most where `order` is ``DESC``."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        run = database.execute(
            "SELECT id FROM flow_run WHERE state_type = 'COMPLETED' AND parent_task_run_id IS NULL "
            "ORDER BY (SELECT count(*) FROM task_run WHERE flow_run_id = flow_run.id) " + order
        ).fetchone()
        return Template(database, run["id"])


async def vacuum(now: datetime, runs_too: bool) -> None:
    """What the server does each hour, as if it were `now`."""
    from prefect.server.database import provide_database_interface
    from prefect.server.services import db_vacuum

    database = provide_database_interface()
    with mock.patch.object(db_vacuum, "now", return_value=now):
        await db_vacuum.vacuum_events_with_retention_overrides(db=database)
        await db_vacuum.vacuum_old_events(db=database)
        if runs_too:
            await db_vacuum.vacuum_old_flow_runs(db=database)


async def year(path: Path, nightly: Template, hourly: Template, runs_too: bool) -> list[float]:
    """Megabytes after each 30 days of a run a night and 23 by day, from the year 2030."""
    database = sqlite3.connect(path)
    for table in OF_A_RUN:
        database.execute(f"DELETE FROM {table}")
    database.commit()
    database.execute("VACUUM")
    sizes, begin = [], datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    for hour in range(24 * DAYS):
        now = begin + timedelta(hours=hour)
        (nightly if hour % 24 == 2 else hourly).copy(database, hour, now)
        if hour % (24 * 7) == 0:
            database.commit()
            await vacuum(now.replace(tzinfo=UTC), runs_too)
        if hour % (24 * 30) == 24 * 30 - 1:
            database.commit()
            pages, size = (database.execute(f"PRAGMA {p}").fetchone()[0] for p in PAGES)
            sizes.append(pages * size / 1e6)
    database.close()
    return sizes


def main() -> int:
    """Print the size after each 30 days, with runs that go and with runs that stay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("nightly", type=Path)
    parser.add_argument("hourly", type=Path)
    parser.add_argument("--keep-days", type=float, default=90)
    asked = parser.parse_args()
    print("| day | runs kept for ever, MB | for --keep-days, MB |\n| ---: | ---: | ---: |")
    curves, runs = [], (template(asked.nightly, "DESC"), template(asked.hourly, ""))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prefect.db"
        os.environ |= {
            "PREFECT_HOME": folder,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{path}",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(asked.keep_days * 86400),
        }
        for runs_too in (False, True):
            for old in Path(folder).glob("prefect.db*"):
                old.unlink()
            shutil.copy(asked.nightly, path)
            curves.append(asyncio.run(year(path, *runs, runs_too)))
    for month, sizes in enumerate(zip(*curves, strict=True), start=1):
        print(f"| {30 * month} | {sizes[0]:.0f} | {sizes[1]:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
