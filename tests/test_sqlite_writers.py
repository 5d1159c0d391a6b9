"""Two that read and then write the same SQLite of the Prefect server: neither fails."""

import asyncio

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from neural_classifiers.operation import server


async def two_writers(path) -> int:
    """What two transactions leave that each read, wait and write what they read, plus one."""
    database = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{path}")
    engine = await database.engine()
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE IF NOT EXISTS count (n INTEGER)"))
        await connection.execute(sa.text("INSERT INTO count VALUES (0)"))

    async def count() -> None:
        session = await database.session(engine)
        async with session, database.begin_transaction(session):
            n = (await session.execute(sa.text("SELECT n FROM count"))).scalar_one()
            await asyncio.sleep(0.2)
            await session.execute(sa.text("UPDATE count SET n = :n"), {"n": n + 1})

    await asyncio.gather(count(), count())
    async with engine.connect() as connection:
        return (await connection.execute(sa.text("SELECT n FROM count"))).scalar_one()


def test_two_that_read_and_then_write_take_turns(tmp_path, monkeypatch):
    begin = AioSqliteConfiguration.begin_transaction
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", begin)  # put back at the end
    with pytest.raises(OperationalError, match="database is locked"):  # what Prefect does
        asyncio.run(two_writers(tmp_path / "deferred.db"))
    server.let_writers_wait()
    assert asyncio.run(two_writers(tmp_path / "waiting.db")) == 2
