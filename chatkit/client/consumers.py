"""The calls that manage a server's consumers, and those of their workers. Blocking, as those of `http`."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from chatkit.client.endpoint import room_path
from chatkit.client.http import HttpClient
from chatkit.client.validation import (
    check_name,
    clamp_count,
    decode,
    incompatible,
    read_batch,
    read_cursor,
    read_gap,
)
from chatkit.core.consumer import Taken
from chatkit.wire.access import MeView
from chatkit.wire.consumers import (
    ConsumerList,
    ConsumerRequest,
    ConsumerView,
    ExtendRequest,
    LeaseRequest,
    RetryRequest,
    TakenView,
)

MAX_LEASE_CHARS: Final = 256  # of a lease's id; this version's have 12


class ConsumerClient(HttpClient):
    """The calls of consumers. Every call may raise the error with which the server refuses it.

    A `take` and a `delete` are made once: if the connection breaks, `Unavailable` is raised. A take that was carried
    out nevertheless is a lease that runs out. The other calls can be repeated without another effect, and are.
    """

    def my_name(self) -> str:
        """Return the name that the client has on the server: that of its token, or the given one."""
        name = decode(self._call("GET", "/me", name=self._endpoint.name).body, MeView).name
        check_name(name)
        return name

    def put_consumer(
        self,
        room: str,
        name: str,
        *,
        after: str | None = None,
        only_if_missing: bool = False,
        retries: int | None = None,
        ordered: bool | None = None,
    ) -> ConsumerView:
        """Make a consumer, or move it and change its settings.

        `after` is `start`, `end` or a cursor; with `only_if_missing`, it is for a new consumer.
        """
        request = ConsumerRequest(after, only_if_missing, retries, ordered)
        body = msgspec.json.encode(request)
        answer = self._call("PUT", _path(room, name), body, name=self._endpoint.name)
        return _check(decode(answer.body, ConsumerView))

    def consumer(self, room: str, name: str) -> ConsumerView:
        """Describe a consumer."""
        return _check(decode(self._call("GET", _path(room, name)).body, ConsumerView))

    def consumers(self, room: str | None = None) -> list[ConsumerView]:
        """List the consumers of a room, or of all rooms."""
        path = "/consumers" if room is None else f"{room_path(room)}/consumers"
        return [_check(view) for view in decode(self._call("GET", path).body, ConsumerList).consumers]

    def delete_consumer(self, room: str, name: str) -> None:
        """Delete a consumer. Its position is forgotten."""
        self._call("DELETE", _path(room, name), once=True, name=self._endpoint.name)

    def take(self, room: str, name: str, *, limit: int, lease_s: float, wait_s: float = 0.0) -> Taken:
        """Lease at most `limit` messages for `lease_s` seconds. Wait up to `wait_s` seconds if there are none."""
        answer = self._call(
            "POST",
            f"{_path(room, name)}/take",
            once=True,
            extra_s=wait_s,
            limit=limit,
            lease_s=lease_s,
            wait_s=wait_s,
            name=self._endpoint.name,
        )
        view = decode(answer.body, TakenView)
        if view.lease is None:
            return Taken()
        if len(view.lease) > MAX_LEASE_CHARS or len(view.messages) > limit:
            raise incompatible("more messages than were asked for, or a lease that is not one")
        gap = None if view.gap is None else read_gap(view.gap)
        return Taken(view.lease, read_batch(view.messages, room, view.cursor), gap)

    def ack(self, room: str, name: str, lease: str, seqs: Sequence[int] | None = None) -> ConsumerView:
        """Settle messages of a lease, or all of them. Raise `LeaseExpired` if others may have them."""
        return self._settle(room, name, "ack", LeaseRequest(lease, None if seqs is None else list(seqs)))

    def retry(
        self,
        room: str,
        name: str,
        lease: str,
        seqs: Sequence[int] | None = None,
        *,
        delay_s: float = 0.0,
        reason: str = "",
    ) -> ConsumerView:
        """Report that messages of a lease, or all of them, have failed: they come again after a delay."""
        listed = None if seqs is None else list(seqs)
        return self._settle(room, name, "retry", RetryRequest(lease, listed, delay_s, reason))

    def release(self, room: str, name: str, lease: str, seqs: Sequence[int] | None = None) -> ConsumerView:
        """Give messages of a lease, or all of them, back: they were not tried."""
        return self._settle(room, name, "release", LeaseRequest(lease, None if seqs is None else list(seqs)))

    def extend(self, room: str, name: str, lease: str, lease_s: float) -> ConsumerView:
        """Let a lease run out `lease_s` seconds from now."""
        return self._settle(room, name, "extend", ExtendRequest(lease, lease_s))

    def _settle(self, room: str, name: str, verb: str, request: Any) -> ConsumerView:
        body = msgspec.json.encode(request)
        answer = self._call("POST", f"{_path(room, name)}/{verb}", body, name=self._endpoint.name)
        return _check(decode(answer.body, ConsumerView))


def _path(room: str, name: str) -> str:
    return f"{room_path(room)}/consumers/{quote(name, safe='')}"


def _check(view: ConsumerView) -> ConsumerView:
    """Return the description of a consumer with its counts clamped; raise `Unavailable`."""
    for name in (view.room, view.name, view.owner):
        check_name(name)
    read_cursor(view.cursor)
    counts = ("lag", "leased", "waiting", "failed", "missed", "retries")
    return msgspec.structs.replace(view, **{each: clamp_count(getattr(view, each)) for each in counts})
