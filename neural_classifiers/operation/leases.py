"""Leases of concurrency limits that outlive the server: on its disk, and for an hour.

Prefect keeps them in the server's memory, so after a restart no run could renew its lease and each
was terminated. On disk they still expired within 300 s, and a client that waits for a server waits
up to 256 s between two tries. A run that ends gives its slot back at once; only of one that nobody
closes does the hour hold the slot, and those the watcher and the server's automations close.

The server finds this module by ``PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE``, the class by its name.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.server.concurrency.lease_storage import filesystem

LONG = timedelta(hours=1)


class ConcurrencyLeaseStorage(filesystem.ConcurrencyLeaseStorage):
    """Prefect's files, ``PREFECT_HOME/concurrency_leases``, of leases of an hour or more."""

    async def create_lease(
        self, resource_ids: list[UUID], ttl: timedelta, *more: Any, **named: Any
    ) -> Any:
        """Make a lease that lasts `ttl`, an hour at least."""
        return await super().create_lease(resource_ids, max(ttl, LONG), *more, **named)

    async def renew_lease(self, lease_id: UUID, ttl: timedelta) -> bool:
        """Extend a lease by `ttl`, an hour at least; false if it is not there."""
        return await super().renew_lease(lease_id, max(ttl, LONG))
