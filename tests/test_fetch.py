"""The download of one file from a local server that misbehaves."""

import contextlib
import hashlib
import os
import socket
import types
import urllib.request

import pytest

from data import DataError
from data.fetch import WAITS, Redirects, fetch, file_md5
from tests import server
from tests.server import Server

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
OTHER = CONTENT[::-1]


@pytest.fixture
def owner(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(CONTENT) as running:
        yield running


class Fetched:
    """A call of `fetch`, with its messages, its waits and its progress."""

    def __init__(self, owner, tmp_path, *, size=SIZE, timeout=5.0):
        self.lines: list[str] = []
        self.waits: list[float] = []
        self.progress: list[tuple] = []
        self.path = tmp_path / "file.zip"
        fetch(
            f"{owner.url}/42",
            self.path,
            md5=hashlib.md5(CONTENT).hexdigest(),
            size=size,
            say=self.lines.append,
            on_progress=lambda *call: self.progress.append(call),
            sleep=self.waits.append,
            timeout=timeout,
        )


def answer(head: str, body: bytes = b"") -> server.Behavior:
    """Send exactly this response, then close the connection."""

    def behave(handler: server.Handler) -> None:
        head_bytes = head.encode("latin-1").replace(b"\n", b"\r\n") + b"\r\n\r\n"
        with contextlib.suppress(ConnectionError):  # the client may have read enough
            handler.wfile.write(head_bytes + body)
        handler.close_connection = True

    return behave


# By name: what the server does, which ranges are requested, which messages are shown.
FAULTS = {
    "none": ([], [""], []),
    "connection lost after 1,000 bytes": (
        [server.cut(1000)],
        ["", "bytes=1000-"],
        ["connection lost at 1,000 of 10,240 bytes; resuming at 1,000 bytes in 1 s"],
    ),
    "connection lost three times": (
        [server.cut(1000), server.cut(2000), server.cut(3000)],
        ["", "bytes=1000-", "bytes=3000-", "bytes=6000-"],
        [
            "connection lost at 1,000 of 10,240 bytes; resuming at 1,000 bytes in 1 s",
            "connection lost at 3,000 of 10,240 bytes; resuming at 3,000 bytes in 1 s",
            "connection lost at 6,000 of 10,240 bytes; resuming at 6,000 bytes in 1 s",
        ],
    ),
    "connection closed without a response": (
        [server.hang_up],
        ["", ""],
        ["connection lost (RemoteDisconnected); resuming at 0 bytes in 1 s"],
    ),
    "slow: no byte within the timeout": (
        [server.stall(500)],
        ["", "bytes=500-"],
        ["connection lost (TimeoutError); resuming at 500 bytes in 1 s"],
    ),
    "Range ignored": (
        [server.cut(1000), server.ignore_range],
        ["", "bytes=1000-"],
        [
            "connection lost at 1,000 of 10,240 bytes; resuming at 1,000 bytes in 1 s",
            "the server cannot resume; starting over",
        ],
    ),
    "another part sent": (
        [server.cut(1000), server.send_another_part],
        ["", "bytes=1000-", ""],
        [
            "connection lost at 1,000 of 10,240 bytes; resuming at 1,000 bytes in 1 s",
            "the server sent another part than requested; starting over",
        ],
    ),
    "429 with a wait": (
        [server.refuse(429, Retry_After=7)],
        ["", ""],
        ["the server responded 429 Too Many Requests; resuming at 0 bytes in 7 s"],
    ),
    "503 twice": (
        [server.refuse(503), server.refuse(503)],
        ["", "", ""],
        [
            "the server responded 503 Service Unavailable; resuming at 0 bytes in 1 s",
            "the server responded 503 Service Unavailable; resuming at 0 bytes in 2 s",
        ],
    ),
}


@pytest.mark.parametrize(
    "head",
    [
        f"HTTP/1.1 200 OK\nContent-Length: {'9' * 5000}",
        "HTTP/1.1 200 OK\nContent-Length: ²",
        "HTTP/1.1 200",
    ],
    ids=["5,000 digits", "superscript", "none"],
)
def test_a_length_that_is_no_number_counts_as_unknown(owner, tmp_path, head):
    owner.script = [answer(head, CONTENT)]
    assert Fetched(owner, tmp_path).path.read_bytes() == CONTENT


@pytest.mark.parametrize("wait", ["²", "9" * 5000, "-1"], ids=["superscript", "5,000 digits", "-1"])
def test_a_wait_that_is_no_number_is_the_usual_one(owner, tmp_path, wait):
    owner.script = [answer(f"HTTP/1.1 503\nRetry-After: {wait}")]
    done = Fetched(owner, tmp_path)
    assert done.waits == [1]
    assert done.lines == ["file.zip: the server responded 503; resuming at 0 bytes in 1 s"]


def test_escape_sequences_in_the_reason_of_a_status_are_not_printed(owner, tmp_path):
    owner.script = [answer(f"HTTP/1.1 {status} \x1b[31m\x9b2J") for status in (503, 404)]
    lines: list[str] = []
    with pytest.raises(DataError, match=r"responded 404 \?\[31m\?2J; download") as caught:
        fetch(owner.url, tmp_path / "\x1b.zip", md5="", say=lines.append, sleep=lambda _: None)
    assert str(caught.value).isprintable()
    assert lines == ["?.zip: the server responded 503 ?[31m?2J; resuming at 0 bytes in 1 s"]


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://127.0.0.1:x/", "http://ä\x00/", "ftp://127.0.0.1/a"]
)
def test_a_redirect_that_cannot_be_followed_is_one_line(owner, tmp_path, address):
    owner.script = [answer(f"HTTP/1.1 302 Found\nLocation: {address}")]
    with pytest.raises(DataError, match="redirects to an address that cannot be used"):
        Fetched(owner, tmp_path)
    assert len(owner.requests) == 1


def test_a_redirect_that_ends_encryption_is_said(capsys):
    request = urllib.request.Request("https://a.example/1")
    for address, lines in (("https://b.example/1", 0), ("http://b.example/1", 1)):
        assert Redirects(print).redirect_request(request, None, 302, "", {}, address)
        assert capsys.readouterr().out.count("redirected from https to http") == lines


def test_a_server_that_sends_more_than_the_file_is_cut_off(owner, tmp_path):
    owner.script = [answer("HTTP/1.1 200 OK", CONTENT * 1000)] * 2
    with pytest.raises(DataError, match="expected 10,240 bytes, the server sends more"):
        Fetched(owner, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", FAULTS)
def test_the_file_arrives_whole_whatever_the_server_does(owner, tmp_path, name):
    script, requests, lines = FAULTS[name]
    owner.script = list(script)
    done = Fetched(owner, tmp_path, timeout=0.3 if "timeout" in name else 5.0)
    assert done.path.read_bytes() == CONTENT
    assert [requested for _, requested in owner.requests] == requests
    assert [line.removeprefix("file.zip: ") for line in done.lines] == lines
    assert done.progress[-1] == (len(CONTENT), len(CONTENT))
    assert os.listdir(tmp_path) == ["file.zip"]


def test_redirects_to_another_server_are_followed_and_resumed_there(owner, tmp_path):
    with Server(CONTENT) as store:
        owner.script = [server.redirect(store.url)] * 2
        store.script = [server.cut(1000)]
        done = Fetched(owner, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert store.requests == [("/stored/42", ""), ("/stored/42", "bytes=1000-")]


def test_a_file_that_changes_between_attempts_is_downloaded_again(owner, tmp_path):
    # The part belongs to the old file, which the checksum of the whole reveals.
    owner.content = OTHER
    owner.script = [server.cut(1000), server.change_to(CONTENT)]
    done = Fetched(owner, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert [requested for _, requested in owner.requests] == ["", "bytes=1000-", ""]
    assert "expected MD5" in done.lines[1]
    assert done.lines[1].endswith("(10,240 bytes); starting over")


def test_a_file_of_another_size_is_refused_before_it_is_read(owner, tmp_path):
    owner.script = [server.cut(1000), server.change_to(CONTENT + b"more")]
    with pytest.raises(DataError, match="expected 10,240 bytes, the server has 10,244"):
        Fetched(owner, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_wrong_checksum_is_refused_after_a_second_download(owner, tmp_path):
    owner.content = OTHER
    with pytest.raises(DataError, match=r"not the expected file.*expected MD5") as caught:
        Fetched(owner, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(owner.requests) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_does_not_exist_is_requested_once(owner, tmp_path, status):
    owner.script = [server.refuse(status)]
    with pytest.raises(DataError, match=f"the server responded {status}"):
        Fetched(owner, tmp_path)
    assert len(owner.requests) == 1


def test_a_redirect_loop_is_one_line(owner, tmp_path):
    def back(handler):
        handler.send(303, b"", Location=owner.url + handler.path)

    owner.script = [back] * 20
    with pytest.raises(DataError, match=r"the server responded 303.*by hand") as caught:
        Fetched(owner, tmp_path)
    assert "\n" not in str(caught.value)


def test_after_many_attempts_the_part_is_kept_for_the_next_call(owner, tmp_path):
    owner.script = [server.cut(1000), *[server.refuse(503)] * (len(WAITS) + 1)]
    with pytest.raises(DataError, match="run the same command later to resume"):
        Fetched(owner, tmp_path)
    assert owner.script == []
    assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[:1000]
    owner.requests.clear()
    assert Fetched(owner, tmp_path).path.read_bytes() == CONTENT
    assert owner.requests == [("/42", "bytes=1000-")]


def test_waits_grow_until_an_attempt_receives_something(owner, tmp_path):
    owner.script = [*[server.refuse(500)] * 4, server.cut(10), server.refuse(500)]
    assert Fetched(owner, tmp_path).waits == [1, 2, 4, 8, 1, 1]


def test_without_a_connection_it_gives_up_after_nine_attempts(owner, tmp_path):
    owner.server_close()
    with pytest.raises(DataError, match=r"cannot be downloaded after 9 attempts: no connection"):
        Fetched(owner, tmp_path)


def test_a_host_that_nobody_knows_is_asked_three_times(tmp_path, monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    nowhere = types.SimpleNamespace(url="http://nowhere.invalid")
    with pytest.raises(DataError, match=r"no server nowhere\.invalid is known here") as error:
        Fetched(nowhere, tmp_path)
    assert "after 3 attempts" in str(error.value)
    assert f"download this address by other means, to {tmp_path}" in str(error.value)


def test_a_second_call_requests_nothing(owner, tmp_path):
    Fetched(owner, tmp_path)
    owner.requests.clear()
    Fetched(owner, tmp_path)
    assert owner.requests == []


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_complete_part_is_only_verified(owner, tmp_path, size):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    assert Fetched(owner, tmp_path, size=size).path.read_bytes() == CONTENT
    assert [requested for _, requested in owner.requests] == ([] if size else ["bytes=10240-"])


def test_a_part_that_is_too_long_is_downloaded_again(owner, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    assert Fetched(owner, tmp_path).path.read_bytes() == CONTENT


def test_md5_of_a_file(tmp_path):
    (tmp_path / "empty").touch()
    assert file_md5(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
