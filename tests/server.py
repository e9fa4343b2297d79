"""A web server on this machine that supports Range requests and misbehaves on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a server does with a request; the default is `serve`.
Behavior = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Responds to each request as the next entry of its server's script says."""

    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range", "")))
        script = self.server.script
        (script.pop(0) if script else serve)(self)

    def start_of_range(self) -> int:
        requested = self.headers.get("Range", "")
        return int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0

    def send(self, status: int, body: bytes, *, promised: int | None = None, **headers) -> None:
        """Send a body; `promised` is its announced length, where that differs."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves one file at every path.

    Attributes:
        content: the file.
        script: what to do with the next requests, in order.
        files: other files, by their path.
        requests: path and Range header of each request.
        closed: set at the end of the test, for behaviors that make a client wait.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.content = content
        self.script: list[Behavior] = []
        self.requests: list[tuple[str, str]] = []
        self.closed = threading.Event()

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return super().__enter__()

    def __exit__(self, *_) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def serve(handler: Handler) -> None:
    """Send the file, or the requested part of it."""
    content = handler.server.files.get(handler.path, handler.server.content)
    start = handler.start_of_range()
    if start >= len(content) and start:
        handler.send(416, b"", Content_Range=f"bytes */{len(content)}")
    elif handler.headers.get("Range"):
        part = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send(206, content[start:], Content_Range=part)
    else:
        handler.send(200, content)


def cut(after: int) -> Behavior:
    """Announce the whole file, but send `after` bytes only."""

    def behave(handler: Handler) -> None:
        content, start = handler.server.content, handler.start_of_range()
        body, promised = content[start : start + after], len(content) - start
        if start:
            part = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send(206, body, promised=promised, Content_Range=part)
        else:
            handler.send(200, body, promised=promised)

    return behave


def stall(after: int) -> Behavior:
    """Send `after` bytes, then nothing more."""

    def behave(handler: Handler) -> None:
        cut(after)(handler)
        handler.wfile.flush()
        handler.server.closed.wait(10)

    return behave


def refuse(status: int, **headers) -> Behavior:
    """Respond with an error."""
    return lambda handler: handler.send(status, b"an explanation", **headers)


def redirect(url: str) -> Behavior:
    """Send the client to another server."""
    return lambda handler: handler.send(303, b"", Location=f"{url}/stored{handler.path}")


def ignore_range(handler: Handler) -> None:
    """Send the whole file whatever was requested."""
    handler.send(200, handler.server.content)


def hang_up(handler: Handler) -> None:
    """Close the connection without a response."""
    handler.close_connection = True


def send_another_part(handler: Handler) -> None:
    """Respond to a Range request with the beginning of the file."""
    content = handler.server.content
    handler.send(206, content, Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}")


def change_to(content: bytes) -> Behavior:
    """Serve another file from now on."""

    def behave(handler: Handler) -> None:
        handler.server.content = content
        serve(handler)

    return behave
