"""The connections of the page: how long they may take, how many there may be, how they end."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.settings import AppConfig


def build_options(app: Callable, settings: AppConfig) -> uvicorn.Config:
    """Build the options of the server of an application.

    Args:
        app: the ASGI application.
        settings: limits of the connections.
    """
    return uvicorn.Config(
        app,
        http=functools.partial(LimitedProtocol, settings=settings),
        ws="none",
        proxy_headers=False,
        # Warnings are about the requests of others, who could fill the terminal with them.
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


class LimitedProtocol(H11Protocol):
    """One HTTP connection; a client that sends or reads too little cannot keep it.

    Args:
        settings: `request_seconds`, `max_connections` and `max_connections_per_address`.
        options: those of uvicorn.

    Attributes:
        idle_since: time of the event loop when the connection began to wait for a request.
    """

    def __init__(self, *, settings: AppConfig, **options) -> None:
        super().__init__(**options)
        self._settings = settings
        self.idle_since = self.loop.time()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def is_idle(self) -> bool:
        """Whether there is no request to respond to: none yet, or only a part of its header."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_unfinished(self) -> bool:
        """Whether the client has not sent a whole request yet."""
        return self.is_idle or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for a request, and close another connection where there are too many."""
        super().connection_made(transport)
        self._wait_for_request()
        connections = [other for other in self.connections if not other.transport.is_closing()]
        address = self.client and self.client[0]
        same = [other for other in connections if other.client and other.client[0] == address]
        if len(same) > self._settings.max_connections_per_address:
            self._make_room(same)
        elif len(connections) > self._settings.max_connections:
            self._make_room(connections)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limits."""
        for timer in self._timers.values():
            timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Give the client some time to read the response."""
        super().pause_writing()
        self._limit("read", self.transport.abort)

    def resume_writing(self) -> None:
        """Continue with the response."""
        super().resume_writing()
        self._timers.pop("read").cancel()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, as the only response if they follow a valid header."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # another response has begun
            self.transport.abort()

    def shutdown(self) -> None:
        """Finish the response; an upload that is still arriving ends here, without a traceback."""
        if not self.is_idle and self.cycle.more_body:
            self.transport.abort()
        else:
            super().shutdown()

    def _make_room(self, connections: Sequence[LimitedProtocol]) -> None:
        """Close the oldest connection without a request, else the oldest upload, else this one."""
        oldest = min(
            (other for other in connections if other is not self and other.is_unfinished),
            key=lambda other: (not other.is_idle, other.idle_since),
            default=self,
        )
        oldest.transport.abort()

    def _wait_for_request(self) -> None:
        self.idle_since = self.loop.time()
        self._limit("request", self._end_waiting)

    def _end_waiting(self) -> None:
        if self.is_idle:
            self.transport.abort()

    def _limit(self, name: str, end: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self.loop.call_later(self._settings.request_seconds, end)
