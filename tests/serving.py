"""The web server of the page in a thread, and the requests of a client."""

import contextlib
import dataclasses
import hashlib
import http.client
import io
import socket
import threading

import numpy as np
import uvicorn
from PIL import Image

from app.connections import build_options
from app.examples import Example
from app.server import build_app
from app.settings import AppConfig
from data import DataError


def echo(content: bytes) -> dict:
    """Stand in for the model: a prediction that identifies its image."""
    if content.startswith(b"text"):
        raise DataError("this file cannot be read as an image: not a format")
    if content.startswith(b"bug"):
        raise RuntimeError("a secret of the computer")
    return {"digest": hashlib.sha256(content).hexdigest()}


class Echo:
    """Stands in for `app.prediction.Predictor`."""

    def __init__(self, predict) -> None:
        self._predict = predict

    def __call__(self, content: bytes, class_name: str | None = None, square=None) -> dict:
        given = {"class": class_name, "square": square}
        return self._predict(content) | {key: value for key, value in given.items() if value}

    def preview(self, content: bytes) -> dict:
        return self._predict(content)

    def row(self, content: bytes, name: str, square=None) -> dict:
        return {"image": name, **self._predict(content), **({"square": square} if square else {})}


@contextlib.contextmanager
def serving(predict=echo, *, hosts=(), **settings):
    """Serve in a thread; yields the port. It stops as with Ctrl-C."""
    limits = {"max_upload_bytes": 1000, "max_waiting": 8, "upload_seconds": 5} | settings
    settings = dataclasses.replace(AppConfig(), **limits)
    examples = {"right": Example("a mole", b"jpeg")}
    app = build_app(Echo(predict), settings, examples=examples, about={}, hosts=hosts)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(build_options(app, settings))
    server.config.timeout_graceful_shutdown = 0.2
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def send(port: int, path: str = "/predict", content: bytes | None = None, **headers: str):
    """Return status, headers and content of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET" if content is None else "POST", path, content, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    """Open a connection and send the beginning of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Wait until the server closes a connection; False if it sends anything."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
