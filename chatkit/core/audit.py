"""The audit: entries in the room `.audit` about changes of access, first uses of tokens and refused attempts.

An entry is a message whose body is a sentence and whose data are `{"event","by","from","target",...}`. No entry holds a
secret or its digest: entries are made of names, ids, patterns and times only.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from chatkit.core.access import Identity
from chatkit.core.backend import Backend
from chatkit.core.ban_list import client_network
from chatkit.core.model import Draft

AUDIT_ROOM: Final = ".audit"
SERVER_NAME: Final = "chatkit"  # the sender of entries about what nobody known did

ATTEMPT_STEP_MS: Final = 60_000  # of one client, one refused attempt in this time is an entry
MAX_ATTEMPTS: Final = 60  # entries in this time about all clients together: an attack must not fill the store


class AuditEvent(StrEnum):
    """What an entry of the audit is about."""

    TOKEN_ADDED = "token-added"  # noqa: S105 - not a secret
    TOKEN_USED = "token-used"  # noqa: S105 - not a secret
    TOKEN_ROTATED = "token-rotated"  # noqa: S105 - not a secret
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 - not a secret
    TOKEN_REMOVED = "token-removed"  # noqa: S105 - not a secret
    INVITE_ADDED = "invite-added"
    INVITE_REDEEMED = "invite-redeemed"
    ATTEMPT_REFUSED = "attempt-refused"
    BAN_ADDED = "ban-added"
    BAN_REMOVED = "ban-removed"
    ROOM_CHANGED = "room-changed"
    ROOM_DELETED = "room-deleted"
    ROOM_RENAMED = "room-renamed"
    MESSAGE_REDACTED = "message-redacted"


class Audit:
    """Appends entries to the audit of a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def append(
        self, event: AuditEvent, by: Identity, sentence: str, target: str, details: Mapping[str, object] | None = None
    ) -> None:
        """Append an entry: what `by` did to `target`, from its address. `details` are JSON values without secrets."""
        data: dict[str, object] = {
            "event": event.value,
            "by": by.name,
            "from": by.address or by.credential.value,
            "target": target,
        }
        data |= {name: value for name, value in (details or {}).items() if value is not None}
        await self._backend.append(
            [Draft(AUDIT_ROOM, by.name, sentence, data=data, verified=by.is_verified, bot=by.is_bot)]
        )


class RefusedAttempts:
    """Chooses which refused attempts become entries: one for each client and minute, and a bounded number of all."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._start_ms = 0

    def is_new(self, address: str, now_ms: int) -> bool:
        """Return whether a refused attempt from an address is to be recorded, and remember that it was."""
        if not 0 <= now_ms - self._start_ms < ATTEMPT_STEP_MS:
            self._seen.clear()
            self._start_ms = now_ms
        network = client_network(address)
        if network in self._seen or len(self._seen) >= MAX_ATTEMPTS:
            return False
        self._seen.add(network)
        return True
