"""Clients that send or read too little: the page goes on, and ends without a traceback."""

import contextlib
import select
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("starlette", reason="needs requirements-app.txt")
pytest.importorskip("uvicorn", reason="needs requirements-app.txt")

from app.connections import LimitedProtocol
from tests.serving import connect, is_closed, send, serving

HALF_HEADER = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Header: "
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", HALF_HEADER, UPLOAD, UPLOAD + b"x"],
    ids=("nothing", "method", "header", "upload", "byte"),
)
def test_200_connections_that_send_too_little_do_not_block_the_page(sent):
    with serving() as port, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(port, sent))
        assert send(port, "/settings")[0] == 200
        assert send(port, content=b"image")[0] == 200


def test_200_connections_with_half_of_a_second_request_do_not_block_the_page():
    with serving() as port, contextlib.ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(connect(port, UPLOAD + b"x" * 900))
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.sendall(HALF_HEADER)
        assert send(port, content=b"image")[0] == 200


@pytest.mark.parametrize("path", ["/predict", "/nowhere"])
@pytest.mark.parametrize(
    "head", [CHUNKED, CHUNKED.replace(b"127.0.0.1", b"bad@host")], ids=("host", "bad_host")
)
def test_a_body_that_is_not_http_prints_no_traceback(path, head, caplog):
    with serving(upload_seconds=0.1) as port:
        head = head.replace(b"/predict", path.encode())
        with connect(port, head + b"not a length\r\n") as connection:
            assert connection.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
        # After the response has begun.
        with connect(port, head) as connection:
            assert connection.recv(8) == b"HTTP/1.1"
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"not a length\r\n")
                while connection.recv(1000):
                    pass
        assert send(port, content=b"image")[0] == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", HALF_HEADER])
def test_a_connection_without_a_complete_header_is_closed_after_some_time(sent):
    with serving(request_seconds=0.1) as port, connect(port, sent) as connection:
        assert is_closed(connection)


def test_bytes_after_a_response_do_not_keep_a_connection_open():
    with serving(request_seconds=0.1) as port, connect(port, b"GET" + UPLOAD[4:]) as connection:
        response = connection.makefile("rb")
        with contextlib.suppress(ConnectionError):
            while response.readline():
                connection.sendall(b"x")
        with contextlib.suppress(ConnectionError):
            assert response.read() == b""


def test_above_the_limit_of_all_addresses_the_oldest_connection_is_closed():
    with serving(max_connections=2) as port, connect(port) as first, connect(port) as second:
        assert send(port, "/settings")[0] == 200
        assert is_closed(first)
        second.sendall(HALF_HEADER + b"x\r\n\r\n")
        assert second.recv(12) == b"HTTP/1.1 200"


def test_a_connection_with_a_request_in_work_is_not_closed_for_another():
    entered, go_on = threading.Event(), threading.Event()

    def wait(content: bytes) -> dict:
        entered.set()
        go_on.wait(20)
        return {}

    limits = {"max_connections_per_address": 1, "request_seconds": 0.1}
    with serving(wait, **limits) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, port, content=b"first")
        assert entered.wait(20)
        with connect(port) as second:
            assert is_closed(second)
        go_on.set()
        assert first.result()[0] == 200


def test_a_client_that_does_not_read_its_response_is_disconnected(monkeypatch):
    disconnected, original = threading.Event(), LimitedProtocol.connection_lost

    def connection_lost(self: LimitedProtocol, exc: Exception | None) -> None:
        original(self, exc)
        disconnected.set()

    monkeypatch.setattr(LimitedProtocol, "connection_lost", connection_lost)
    with (
        serving(lambda content: {"text": "x" * 30_000_000}, request_seconds=0.1) as port,
        connect(port, UPLOAD + b"x" * 900),
    ):
        assert disconnected.wait(20)


def test_all_uploads_at_a_time_share_a_limit_of_their_memory():
    with serving(max_waiting=2) as port, contextlib.ExitStack() as stack:
        uploads = [stack.enter_context(connect(port, UPLOAD + b"x" * 899)) for _ in range(3)]
        (rejected,), _, _ = select.select(uploads, [], [], 20)
        assert b" 503 " in rejected.recv(100)
        assert send(port, content=b"image")[0] == 200


@pytest.mark.parametrize("sent", [b"", HALF_HEADER, UPLOAD, UPLOAD + b"x"])
def test_ctrl_c_during_a_slow_request_prints_no_traceback(sent, caplog):
    with contextlib.ExitStack() as stack:
        with serving() as port:
            stack.enter_context(connect(port, sent))
            assert send(port, "/settings")[0] == 200
        assert caplog.text == ""


def test_ctrl_c_during_a_prediction_prints_no_traceback(caplog):
    entered, go_on = threading.Event(), threading.Event()

    def wait(content: bytes) -> dict:
        entered.set()
        go_on.wait(20)
        return {}

    with contextlib.ExitStack() as stack:
        with serving(wait) as port:
            uploads = [stack.enter_context(connect(port, UPLOAD + b"x" * 900)) for _ in range(2)]
            assert entered.wait(20)
            assert send(port, "/settings")[0] == 200
        assert "Traceback" not in caplog.text
        assert all(b" 503 " in upload.recv(100) for upload in uploads)
        go_on.set()
