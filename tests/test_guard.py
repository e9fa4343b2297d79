"""Which requests the page accepts."""

import json

import pytest

pytest.importorskip("starlette", reason="needs requirements-app.txt")
pytest.importorskip("uvicorn", reason="needs requirements-app.txt")

from app.guard import parse_host
from tests.serving import connect, send, serving


@pytest.fixture(scope="module")
def port():
    with serving(hosts=("127.0.0.1", "localhost", "::1", "LocalHost.example")) as port:
        yield port


def request(port: int, head: bytes) -> int:
    """Send the lines of a header as they are; returns the status."""
    with connect(port, head + b"\r\nConnection: close\r\n\r\n") as connection:
        return int(connection.makefile("rb").read().split()[1])


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"evil.example:",
        b"localhost:",
        b"127.0.0.1@evil.example",
        b"evil.example@127.0.0.1",
        b"evil.example#@127.0.0.1",
        b"evil.example/localhost",
        b"localhost, evil.example",
        b"localhost:80:80",
        b"localhost:0",
        b"localhost:65536",
        b"localhost:+80",
        b"localhost:\xb2",
        b"local\xadhost",
        b"\xff",
        b"[::1",
        b"[::1]evil",
        b"[evil.example]",
        b"[::1%25lo]",
        b"::1",
        b"localhost.",
    ],
)
def test_a_host_header_that_cannot_be_parsed_is_refused(port, host):
    assert request(port, b"GET / HTTP/1.1\r\nHost: " + host) == 400
    assert request(port, b"GET /settings/ HTTP/1.1\r\nHost: " + host) == 400


def test_a_request_without_a_host_or_with_two_is_refused(port):
    assert request(port, b"GET / HTTP/1.0") == 400
    assert request(port, b"GET / HTTP/1.1") == 400
    for hosts in (b"localhost", b"evil.example"), (b"evil.example", b"localhost"):
        head = b"GET / HTTP/1.0\r\nHost: " + b"\r\nHost: ".join(hosts)
        assert request(port, head) == 400


def test_hosts_of_this_machine_are_accepted_and_others_are_not(port):
    for host in (b"127.0.0.1", b"LOCALHOST:1", b"[::1]:65535", b"[0::1]", b"localhost.example"):
        assert request(port, b"GET / HTTP/1.1\r\nHost: " + host) == 200, host
    for host in (b"evil.example", b"localhost.evil", b"127.1", b"2130706433", b"[::ffff:7f00:1]"):
        assert request(port, b"GET / HTTP/1.1\r\nHost: " + host) == 421, host
    # What the address line says does not count.
    assert request(port, b"GET http://localhost/ HTTP/1.1\r\nHost: evil.example") == 421


@pytest.mark.parametrize(
    ("value", "host"),
    [("a-b.example:7860", "a-b.example"), ("[::0001]", "::1"), ("[::1]:9", "::1"), ("-a", None)],
)
def test_a_host_is_parsed_with_and_without_its_port(value, host):
    assert parse_host(value) == host


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "new-value"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "OWN.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_an_upload_from_another_site_is_refused(port, headers):
    own = f"http://127.0.0.1:{port}"
    headers = {name: value.replace("OWN", own) for name, value in headers.items()}
    status, _, content = send(port, content=b"image", **headers)
    assert status == 403
    assert json.loads(content) == {"error": "This page accepts requests of its own only."}


def test_uploads_of_the_page_and_of_programs_are_accepted(port):
    own = {"Origin": f"http://127.0.0.1:{port}"}
    for headers in ({}, own, own | {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert send(port, content=b"image", **headers)[0] == 200
    # A link from another site opens the page.
    assert send(port, "/", **{"Sec-Fetch-Site": "cross-site"})[0] == 200


def test_a_host_that_cannot_be_parsed_is_refused_where_any_host_is_accepted():
    with serving() as port:
        assert request(port, b"GET / HTTP/1.1\r\nHost: any.example") == 200
        assert request(port, b"GET / HTTP/1.1\r\nHost: [") == 400
        assert send(port, content=b"image", Origin="http://evil.example")[0] == 403
