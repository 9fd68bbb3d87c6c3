"""The audit: entries in the room `.audit` about changes of access, first uses of tokens and refused attempts.

An entry is a message whose body is a sentence and whose data are `{"event","by","from","target",...}`. No entry holds a
secret or its digest: entries are made of names, ids, patterns and times only.

An entry follows its change, so that nothing is in the audit that did not happen. If the store fails in between, the
change is done and reported as done, and its entry is appended as soon as the store accepts it, with the time of the
change as `at` in its data. Each entry has a key, so that it is stored once. If the process ends before that, or too
many entries wait, they are errors in its log.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final

from msgspec.structs import replace

from chatkit.backoff import Backoff
from chatkit.core.access import Identity
from chatkit.core.backend import Backend
from chatkit.core.ban_list import client_network
from chatkit.core.model import Draft, format_time
from chatkit.errors import ChatkitError, KeyConflict

AUDIT_ROOM: Final = ".audit"
SERVER_NAME: Final = "chatkit"  # the sender of entries about what nobody known did

ATTEMPT_STEP_MS: Final = 60_000  # of one client, one refused attempt in this time is an entry
MAX_WAITING: Final = 1_000  # entries for a store that fails: under 1 MB
RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0  # between two attempts to append them
CLOSE_S: Final = 5.0  # the longest last attempt, for entries that still wait
MAX_ATTEMPTS: Final = 60  # entries in this time about all clients together: an attack must not fill the store


_logger = logging.getLogger(__name__)


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
    MESSAGES_IMPORTED = "messages-imported"
    CONSUMER_BEHIND = "consumer-behind"
    CONSUMER_MISSED = "consumer-missed"
    WEBHOOK_ADDED = "webhook-added"
    WEBHOOK_REMOVED = "webhook-removed"
    WEBHOOK_RESUMED = "webhook-resumed"
    WEBHOOK_PARKED = "webhook-parked"


class Audit:
    """Appends entries to the audit of a backend. Call `close` at the end. `now_ms` is the clock, as Unix milliseconds.

    Entries that wait are appended with the next one, by `run`, and by `close`.
    """

    def __init__(self, backend: Backend, now_ms: Callable[[], int]) -> None:
        self._backend = backend
        self._now_ms = now_ms
        self._waiting: deque[Draft] = deque()
        self._is_waiting = asyncio.Event()  # set while entries wait
        self._appending = asyncio.Lock()  # held by who appends, so that the entries keep their order

    async def append(
        self, event: AuditEvent, by: Identity, sentence: str, target: str, details: Mapping[str, object] | None = None
    ) -> None:
        """Append an entry: what `by` did to `target`, from its address. `details` are JSON values without secrets.

        If the store fails, the entry waits, and nothing is raised.
        """
        data: dict[str, object] = {
            "event": event.value,
            "by": by.name,
            "from": by.address or by.credential.value,
            "target": target,
        }
        data |= {name: value for name, value in (details or {}).items() if value is not None}
        draft = Draft(
            AUDIT_ROOM, by.name, sentence, data, key=secrets.token_hex(8), verified=by.is_verified, bot=by.is_bot
        )
        await self.keep(draft)

    async def keep(self, draft: Draft) -> None:
        """Append an entry about a change that was made, which has a key; if the store fails, later."""
        if len(self._waiting) >= MAX_WAITING:
            _log_missing(draft)
            return
        self._waiting.append(draft)
        self._is_waiting.set()
        try:
            await self.flush()
        except ChatkitError as error:
            self._mark_late(draft)
            _logger.warning("the store takes no entries now, so those about changes wait: %s", error)

    async def flush(self) -> None:
        """Append the entries that wait. Raise the error of the store if that fails."""
        async with self._appending:
            while self._waiting:
                with suppress(KeyConflict):  # it was stored without `at`, though the answer was lost
                    await self._backend.append([self._waiting[0]])
                self._waiting.popleft()
            self._is_waiting.clear()

    async def run(self) -> None:
        """Append the entries that wait whenever the store works again, until this is cancelled."""
        backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            await self._is_waiting.wait()
            await asyncio.sleep(backoff.next_s())
            with suppress(ChatkitError):
                await self.flush()
                backoff.reset()

    async def close(self) -> None:
        """Append the entries that wait, or log them as errors if that fails."""
        with suppress(ChatkitError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.flush()
        while self._waiting:
            _log_missing(self._waiting.popleft())

    def _mark_late(self, draft: Draft) -> None:
        """Add the time of its change to an entry that waits: it will be stored later."""
        if isinstance(draft.data, dict) and draft in self._waiting:
            late = replace(draft, data=draft.data | {"at": format_time(self._now_ms())})
            self._waiting[self._waiting.index(draft)] = late


def _log_missing(draft: Draft) -> None:
    _logger.error("%s has no entry of this: %s %s", draft.room, draft.sender, draft.body or draft.act)


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
