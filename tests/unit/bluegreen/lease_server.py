"""What the API server does to a Lease (FACTS, Lease as a lock), as far as the client may see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from include.bluegreen.lease import LeaseState
from include.errors import PatchRefused


@dataclass
class LeaseServer:
    """One Lease, or none. Versions and uids are never used twice."""

    lease: LeaseState | None = None
    version: int = 0

    def create(self, lease: LeaseState) -> LeaseState:
        if self.lease is not None:
            raise PatchRefused("AlreadyExists")
        self.version += 1
        return self._store(replace(lease, uid=f"uid-{self.version}"))

    def replace(self, lease: LeaseState) -> LeaseState:
        self._same(lease)
        return self._store(lease)

    def delete(self, lease: LeaseState) -> None:
        if self.lease is not None:
            self._same(lease)
            self.lease = None

    def _same(self, lease: LeaseState) -> None:
        found = self.lease
        if found is None or (found.uid, found.resource_version) != (lease.uid, lease.resource_version):
            raise PatchRefused("Conflict")

    def _store(self, lease: LeaseState) -> LeaseState:
        self.version += 1
        self.lease = replace(lease, resource_version=str(self.version))
        return self.lease
