"""ChannelsPlugin: the subscribers of each channel, and publishing. A subclass of Litestar's plugin."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Self, overload

from litestar import WebSocket
from litestar import channels as reference
from litestar.channels.plugin import ChannelsException
from litestar.channels.subscriber import BacklogStrategy
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import WebsocketRouteHandler
from litestar.params import FromPath
from litestar.types import Guard, LitestarEncodableType, TypeEncodersMap
from litestar.types.asgi_types import WebSocketMode

from chatkit.core.model import Cursor
from chatkit.errors import ChatkitError
from chatkit.litestar.backends import AbandonedChannels, LogChannelsBackend
from chatkit.litestar.current_subscriber import current_subscriber
from chatkit.litestar.cursor import parse_cursors
from chatkit.litestar.event_loop import run_in, running_loop
from chatkit.litestar.events import Published
from chatkit.litestar.foreign_backend import ForeignBackend, as_log_backend
from chatkit.litestar.locks import NamedLocks
from chatkit.litestar.outbox import ErrorHook, PublishQueue
from chatkit.litestar.subscriber import Subscriber
from chatkit.wire.codes import PrivateCloseCode

DRAIN_S: Final = 5.0  # bound on the delivery of published events at shutdown

_logger = logging.getLogger(__name__)


class ChannelsPlugin(reference.ChannelsPlugin):
    """Channels for an application, injected as `channels`.

    The parameters are those of Litestar's plugin. `backend` may also be a chatkit URL, such as `sqlite:///chat.db`.
    `ws_handler_guards` guard the generated handlers. `on_error` gets the error of each event that was not stored.
    """

    def __init__(
        self,
        backend: reference.ChannelsBackend | str,
        *,
        channels: Iterable[str] | None = None,
        arbitrary_channels_allowed: bool = False,
        create_ws_route_handlers: bool = False,
        ws_handler_send_history: int = 0,
        ws_handler_base_path: str = "/",
        ws_send_mode: WebSocketMode = "text",
        subscriber_max_backlog: int | None = None,
        subscriber_backlog_strategy: BacklogStrategy = "backoff",
        subscriber_class: type[reference.Subscriber] = Subscriber,
        type_encoders: "TypeEncodersMap | None" = None,
        ws_handler_guards: Sequence[Guard] | None = None,
        on_error: ErrorHook | None = None,
    ) -> None:
        backend = LogChannelsBackend(backend) if isinstance(backend, str) else backend
        if not issubclass(subscriber_class, Subscriber):
            raise ImproperlyConfiguredException("subscriber_class must be a subclass of chatkit.litestar.Subscriber")
        declared = list(channels or ())
        super().__init__(
            backend,
            channels=declared,
            arbitrary_channels_allowed=arbitrary_channels_allowed,
            create_ws_route_handlers=create_ws_route_handlers,
            ws_handler_send_history=ws_handler_send_history,
            ws_handler_base_path=ws_handler_base_path,
            ws_send_mode=ws_send_mode,
            subscriber_max_backlog=subscriber_max_backlog,
            subscriber_backlog_strategy=subscriber_backlog_strategy,
            subscriber_class=subscriber_class,
            type_encoders=type_encoders,
        )
        self._make_subscriber: type[Subscriber] = subscriber_class
        self._declared = frozenset(declared)
        self._guards = list(ws_handler_guards or ())
        self._on_error = on_error
        self._log = as_log_backend(backend)
        self._loop: asyncio.AbstractEventLoop | None = None  # set while the plugin is started
        self._is_open = False  # whether events are accepted; False from the start of a shutdown
        self._outbox = PublishQueue(self._log, on_error)
        self._idle: set[Subscriber] = set()  # subscribers without a channel so far
        self._locks = NamedLocks()  # by channel: keeps calls of the backend for a channel in order
        self._subscribed: set[str] = set()  # the channels that the backend is subscribed to

    @property
    def is_shared(self) -> bool:
        """Whether other processes may read and write the same channels."""
        return self._log.is_shared

    # Starting and ending

    async def __aenter__(self) -> Self:
        """Start. Litestar's method is annotated with Litestar's type, this one with its own."""
        await super().__aenter__()
        return self

    async def _on_startup(self) -> None:
        if self._loop is not None:
            return
        self._locks, self._outbox = NamedLocks(), PublishQueue(self._log, self._on_error)  # of this event loop
        self._subscribed.clear()
        await self._log.on_startup()
        try:
            if self._channels:
                await self._subscribe_backend(set(self._channels))
            for subscriber in self._all_subscribers():
                await subscriber.attach(self._log)
        except BaseException:
            await self._log.on_shutdown()
            raise
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    async def _on_shutdown(self) -> None:
        """Deliver the published events, end every subscriber, and close the backend. A second call does nothing."""
        if not self._is_open:
            return
        async with AsyncExitStack() as stack:  # every step runs, even if another one raises
            stack.callback(setattr, self, "_loop", None)
            stack.push_async_callback(self._log.on_shutdown)
            stack.callback(self.end_subscribers)
            stack.push_async_callback(self._stop_senders)
            stack.push_async_callback(self._drain)

    async def _drain(self) -> None:
        """Accept no more events, and wait until all published events are stored, including those of other threads."""
        self._is_open = False
        await asyncio.sleep(0)  # events that other threads published before this are in the event loop's queue
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._outbox.wait_empty()

    async def _stop_senders(self) -> None:
        subscribers = self._all_subscribers()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await _all_done(each.stop(join=True) if each.is_running else each.finish() for each in subscribers)
        await _all_done(each.stop() for each in subscribers)

    def end_subscribers(self) -> None:
        """Stop every iteration over events after the queued events. Called at the application's shutdown."""
        for subscriber in self._all_subscribers():
            for channel in subscriber.channels:
                subscriber.unfollow(channel)
            subscriber.end()
        self._idle.clear()
        for channel in list(self._channels):
            self._channels[channel].clear()
            self._forget_if_empty(channel)

    def end_iterators(self) -> None:
        """Stop iterations that no client's disconnect would end. Called at the server's shutdown."""
        for subscriber in self._all_subscribers():
            if not subscriber.is_running:
                subscriber.end()

    def _all_subscribers(self) -> list[Subscriber]:
        found = {each: None for readers in self._channels.values() for each in readers if isinstance(each, Subscriber)}
        return [*found, *self._idle]

    # Publishing

    def publish(self, data: LitestarEncodableType, channels: str | Iterable[str]) -> None:
        """Publish `data` without waiting. May be called from the event loop or from any thread.

        Raise `ChannelsException` for an unknown channel. If an event cannot be stored, the error is logged and passed
        to `on_error`; `wait_published` raises it.
        """
        names = self._check_channels(channels)
        payload = self.encode_data(data)
        loop = self._loop
        if loop is None or not self._is_open:
            raise RuntimeError("Plugin not yet initialized. Did you forget to call on_startup?")
        if running_loop() is loop:
            self._submit(payload, names)
        else:
            loop.call_soon_threadsafe(self._submit, payload, names)

    def _submit(self, payload: bytes, names: Sequence[str]) -> None:
        self._outbox.submit(payload, names, current_subscriber(self))

    @overload  # type: ignore[override]  # Litestar's returns nothing
    async def wait_published(self, data: LitestarEncodableType, channels: str) -> Published: ...  # type: ignore[overload-overlap]  # a str is one channel
    @overload
    async def wait_published(self, data: LitestarEncodableType, channels: Iterable[str]) -> list[Published]: ...

    async def wait_published(
        self, data: LitestarEncodableType, channels: str | Iterable[str]
    ) -> Published | list[Published]:
        """Publish `data`, and return its number and cursor in each channel when it is committed.

        Raise `ChannelsException` for an unknown channel, `Unavailable` or `StoreError` if it was not stored.
        """
        names = self._check_channels(channels)
        published = await run_in(self._loop, self._publish(self.encode_data(data), names))
        return published[0] if isinstance(channels, str) else published

    async def _publish(self, payload: bytes, names: Sequence[str]) -> list[Published]:
        published = await self._log.publish(payload, names)
        if (subscriber := current_subscriber(self)) is not None:
            asyncio.get_running_loop().call_soon(subscriber.send_due)  # after the event's notification, if there is one
        return published

    def _check_channels(self, channels: str | Iterable[str]) -> list[str]:
        """Return the channels as a list. Raise `ChannelsException` if one of them is unknown."""
        names = [channels] if isinstance(channels, str) else list(channels)
        for name in names:
            if name not in self._channels and not self._arbitrary_channels_allowed:
                raise ChannelsException(
                    f"Unknown channel: {name!r}. Either explicitly defined the channel or set "
                    "arbitrary_channels_allowed=True"
                )
        return names

    # Subscribing

    async def subscribe(
        self,
        channels: str | Iterable[str],
        history: int | None = None,
        *,
        after: str | Mapping[str, str] | None = None,
    ) -> Subscriber:
        """Create a subscriber of these channels. It reads the newest `history` events and then those published later.

        History and live events are in order, without gaps or repeats between them. To resume instead, pass `after`: a
        cursor (`Event.cursor`, `Published.cursor`), or a mapping of channels to cursors. Raise `ChannelsException` for
        an unknown channel, `BadCursor`, or `Unavailable`; the subscriber is then unsubscribed from all channels.
        """
        names = self._check_channels(channels)
        subscriber = self._make_subscriber(
            plugin=self, max_backlog=self._max_backlog, backlog_strategy=self._backlog_strategy
        )
        await self._join(subscriber, names, history, parse_cursors(after, names))
        if not names:
            self._idle.add(subscriber)
        return subscriber

    async def add_channels(
        self,
        subscriber: Subscriber,
        channels: str | Iterable[str],
        history: int | None = None,
        *,
        after: str | Mapping[str, str] | None = None,
    ) -> None:
        """Subscribe a subscriber to more channels; see `subscribe`. Its other channels do not change.

        A subscriber ends when it leaves its last channel, so add the next channel before that. Raise
        `ChannelsException` for a subscriber that has ended.
        """
        names = self._check_channels(channels)
        if subscriber.has_ended:
            raise ChannelsException("This subscriber has ended, because it has left its last channel")
        fresh = [name for name in names if name not in subscriber.channels]
        await self._join(subscriber, fresh, history, parse_cursors(after, names))

    async def _join(
        self, subscriber: Subscriber, names: Sequence[str], history: int | None, after: Mapping[str, Cursor]
    ) -> None:
        self._idle.discard(subscriber)
        subscriber.set_log(None if self._loop is None else self._log)
        try:
            async with self._locks.hold(names):
                await self._subscribe_backend({name for name in names if name not in self._subscribed})
                for name in dict.fromkeys(names):
                    self._channels.setdefault(name, set()).add(subscriber)
                    await self._follow(subscriber, name, history or 0, after.get(name))
        except BaseException:
            await self.unsubscribe(subscriber, names)
            raise

    async def _follow(self, subscriber: Subscriber, name: str, history: int, after: Cursor | None) -> None:
        if isinstance(self._log, ForeignBackend):
            await subscriber.follow(name, after=after)
            if history and after is None:
                await subscriber.put_history(name, self._log.get_history(name, history))
        else:
            n_events = 0 if after else self._log.history_limit(history)
            await subscriber.follow(name, history=n_events, after=after or self._log.start_cursor(name, n_events))

    async def _subscribe_backend(self, fresh: set[str]) -> None:
        if fresh:
            self._subscribed |= fresh
            try:
                await self._log.subscribe(fresh)
            except BaseException:
                self._subscribed -= fresh
                raise

    async def unsubscribe(self, subscriber: reference.Subscriber, channels: str | Iterable[str] | None = None) -> None:
        """Unsubscribe a subscriber from these channels, or from all. Without a channel, it and its task end."""
        if not isinstance(subscriber, Subscriber):
            return
        asked = subscriber.channels if channels is None else channels
        names = [asked] if isinstance(asked, str) else list(asked)
        was_in_any = bool(subscriber.channels)
        for name in names:  # before the first `await`: even if that fails, the subscriber is out
            subscriber.unfollow(name)
            self._channels.get(name, set()).discard(subscriber)
        try:
            await self._unsubscribe_backend([name for name in names if not self._channels.get(name)])
        finally:
            if (was_in_any or channels is None) and not subscriber.channels:
                self._idle.discard(subscriber)
                subscriber.end()
                await subscriber.stop()

    async def _unsubscribe_backend(self, names: Sequence[str]) -> None:
        """Unsubscribe the backend from channels without a subscriber, unless they got one while this call waited."""
        if not names:
            return
        async with self._locks.hold(names):
            left = AbandonedChannels(
                each for each in names if not self._channels.get(each) and each in self._subscribed
            )
            for name in names:
                self._forget_if_empty(name)
            if left:
                self._subscribed -= left
                await self._log.unsubscribe(left)

    def _forget_if_empty(self, channel: str) -> None:
        if channel not in self._declared and not self._channels.get(channel, True):
            del self._channels[channel]

    @asynccontextmanager
    async def start_subscription(
        self,
        channels: str | Iterable[str],
        history: int | None = None,
        *,
        after: str | Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Subscriber, None]:
        """Create a subscriber for the block, and unsubscribe it from all channels at its end; see `subscribe`."""
        subscriber = await self.subscribe(channels, history, after=after)
        try:
            yield subscriber
        finally:
            await self.unsubscribe(subscriber)

    async def put_subscriber_history(
        self, subscriber: reference.Subscriber, channels: str | Iterable[str], limit: int | None = None
    ) -> None:
        """Add the history of these channels to a subscriber's queue, after the queued events; wait while it is full.

        An event that is in the history and in the queue is delivered twice. `subscribe(history=)` has no such overlap.
        """
        for channel in [channels] if isinstance(channels, str) else channels:
            for entry in await self._log.get_history(channel, limit):
                await subscriber.put(entry)

    # The application

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependency `channels`, the lifespan and the generated handlers to the application."""
        app_config.dependencies["channels"] = Provide(lambda: self, use_cache=True, sync_to_thread=False)
        app_config.lifespan.append(self)
        app_config.signature_namespace.update(ChannelsPlugin=ChannelsPlugin)
        if self._create_route_handlers:
            app_config.route_handlers.extend(self._make_handlers())
        return app_config

    def _make_handlers(self) -> list[WebsocketRouteHandler]:
        make = partial(WebsocketRouteHandler, guards=self._guards)
        if self._arbitrary_channels_allowed:
            return [make(self._handler_root_path + "{channel_name:str}")(self._ws_handler_func)]
        return [make(self._handler_root_path + name)(self._create_ws_handler_func(name)) for name in self._channels]

    async def _ws_handler_func(self, channel_name: FromPath[str], socket: WebSocket[Any, Any, Any]) -> None:
        """Send a channel's events to a client. It is subscribed before it is accepted, so that it misses none."""
        limit = -1 if self._history_limit is None else self._history_limit
        try:
            subscriber = await self.subscribe(channel_name, history=limit)
        except ChatkitError as error:  # a client that is rejected before it is accepted does not receive the reason
            await socket.accept()
            await socket.close(PrivateCloseCode.UNAVAILABLE, str(error))
            return
        send = socket.send_text if self._socket_send_mode == "text" else socket.send_bytes
        try:
            await socket.accept()
            async with subscriber.run_in_background(send):
                while (await socket.receive())["type"] != "websocket.disconnect":
                    continue
        finally:
            await self.unsubscribe(subscriber)


async def _all_done(jobs: Iterable[Coroutine[None, None, None]]) -> None:
    for outcome in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(outcome, Exception):
            _logger.error("a callback for events failed: %r", outcome)
