"""A web server on the loopback that speaks Range, and misbehaves on demand."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a server does with a request; by default it serves.
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the next behaviour of its server says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range", "")))
        script = self.server.script
        (script.pop(0) if script else serve)(self)

    def start_of_range(self) -> int:
        wanted = self.headers.get("Range", "")
        return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0

    def send(self, status: int, body: bytes, *, promised: int | None = None, **headers) -> None:
        """Send a body, of which more may be promised than comes."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves one file under every path.

    Attributes:
        content: the file.
        script: what to do with the next requests, in order.
        requests: path and Range of those that came.
        gone: set when the test is over, for those who make a client wait.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.content = content
        self.script: list[Behaviour] = []
        self.requests: list[tuple[str, str]] = []
        self.gone = threading.Event()

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return super().__enter__()

    def __exit__(self, *_) -> None:
        self.gone.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def serve(handler: Handler) -> None:
    """Send the file, or the part asked for."""
    content = handler.server.files.get(handler.path, handler.server.content)
    start = handler.start_of_range()
    if start >= len(content) and start:
        handler.send(416, b"", Content_Range=f"bytes */{len(content)}")
    elif handler.headers.get("Range"):
        place = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send(206, content[start:], Content_Range=place)
    else:
        handler.send(200, content)


def cut(after: int) -> Behaviour:
    """Send so many bytes of what is promised."""

    def behave(handler: Handler) -> None:
        content, start = handler.server.content, handler.start_of_range()
        body, promised = content[start : start + after], len(content) - start
        if start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.send(206, body, promised=promised, Content_Range=place)
        else:
            handler.send(200, body, promised=promised)

    return behave


def stall(after: int) -> Behaviour:
    """Send so many bytes, then nothing."""

    def behave(handler: Handler) -> None:
        cut(after)(handler)
        handler.wfile.flush()
        handler.server.gone.wait(10)

    return behave


def refuse(status: int, **headers) -> Behaviour:
    """Answer with an error."""
    return lambda handler: handler.send(status, b"an explanation", **headers)


def redirect(url: str) -> Behaviour:
    """Send the client to another server."""
    return lambda handler: handler.send(303, b"", Location=f"{url}/stored{handler.path}")


def ignore_range(handler: Handler) -> None:
    """Send the whole file whatever was asked for."""
    handler.send(200, handler.server.content)


def hang_up(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def send_another_part(handler: Handler) -> None:
    """Answer a range with the beginning of the file."""
    content = handler.server.content
    handler.send(206, content, Content_Range=f"bytes 0-{len(content) - 1}/{len(content)}")


def change_to(content: bytes) -> Behaviour:
    """Have another file from now on."""

    def behave(handler: Handler) -> None:
        handler.server.content = content
        serve(handler)

    return behave
