"""One file from a server on the loopback, whatever that does."""

import hashlib
import os

import pytest

from data import DataError
from data.fetch import WAITS, fetch, file_md5
from tests import server
from tests.server import Server

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
OTHER = CONTENT[::-1]


@pytest.fixture
def owner(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(CONTENT) as found:
        yield found


class Fetched:
    """A call of `fetch`, with what it said and how long it would have waited."""

    def __init__(self, owner, tmp_path, *, size=SIZE, timeout=5.0):
        self.said: list[str] = []
        self.waits: list[float] = []
        self.progress: list[tuple] = []
        self.path = tmp_path / "file.zip"
        fetch(
            f"{owner.url}/42",
            self.path,
            md5=hashlib.md5(CONTENT).hexdigest(),
            size=size,
            say=self.said.append,
            on_progress=lambda *call: self.progress.append(call),
            sleep=self.waits.append,
            timeout=timeout,
        )


# Name: what the server does, what is asked for, what is said.
FAULTS = {
    "none": ([], [""], []),
    "cut after 1,000 bytes": (
        [server.cut(1000)],
        ["", "bytes=1000-"],
        ["the connection was cut at 1,000 of 10,240 bytes; goes on at 1,000 bytes in 1 s"],
    ),
    "cut three times": (
        [server.cut(1000), server.cut(2000), server.cut(3000)],
        ["", "bytes=1000-", "bytes=3000-", "bytes=6000-"],
        [
            "the connection was cut at 1,000 of 10,240 bytes; goes on at 1,000 bytes in 1 s",
            "the connection was cut at 3,000 of 10,240 bytes; goes on at 3,000 bytes in 1 s",
            "the connection was cut at 6,000 of 10,240 bytes; goes on at 6,000 bytes in 1 s",
        ],
    ),
    "hangs up without an answer": (
        [server.hang_up],
        ["", ""],
        ["the connection was cut (RemoteDisconnected); goes on at 0 bytes in 1 s"],
    ),
    "slow: no byte within the timeout": (
        [server.stall(500)],
        ["", "bytes=500-"],
        ["the connection was cut (TimeoutError); goes on at 500 bytes in 1 s"],
    ),
    "ignores Range": (
        [server.cut(1000), server.ignore_range],
        ["", "bytes=1000-"],
        [
            "the connection was cut at 1,000 of 10,240 bytes; goes on at 1,000 bytes in 1 s",
            "the server cannot resume; begins anew",
        ],
    ),
    "sends another part": (
        [server.cut(1000), server.send_another_part],
        ["", "bytes=1000-", ""],
        [
            "the connection was cut at 1,000 of 10,240 bytes; goes on at 1,000 bytes in 1 s",
            "the server sends another part than asked for; begins anew",
        ],
    ),
    "429, says for how long": (
        [server.refuse(429, Retry_After=7)],
        ["", ""],
        ["the server answers 429 Too Many Requests; goes on at 0 bytes in 7 s"],
    ),
    "503 twice": (
        [server.refuse(503), server.refuse(503)],
        ["", ""],
        [
            "the server answers 503 Service Unavailable; goes on at 0 bytes in 1 s",
            "the server answers 503 Service Unavailable; goes on at 0 bytes in 2 s",
        ],
    ),
}
FAULTS["503 twice"][1].append("")


@pytest.mark.parametrize("name", FAULTS)
def test_the_file_arrives_whole_whatever_the_server_does(owner, tmp_path, name):
    script, requests, said = FAULTS[name]
    owner.script = list(script)
    done = Fetched(owner, tmp_path, timeout=0.3 if "timeout" in name else 5.0)
    assert done.path.read_bytes() == CONTENT
    assert [asked for _, asked in owner.requests] == requests
    assert [line.removeprefix("file.zip: ") for line in done.said] == said
    assert done.progress[-1] == (len(CONTENT), len(CONTENT))
    assert os.listdir(tmp_path) == ["file.zip"]


def test_redirects_to_another_port_are_followed_and_resumed_there(owner, tmp_path):
    with Server(CONTENT) as store:
        owner.script = [server.redirect(store.url)] * 2
        store.script = [server.cut(1000)]
        done = Fetched(owner, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert store.requests == [("/stored/42", ""), ("/stored/42", "bytes=1000-")]


def test_a_file_that_changes_between_two_tries_begins_anew(owner, tmp_path):
    # The part that is here belongs to the old file, as the checksum of the whole tells.
    owner.content = OTHER
    owner.script = [server.cut(1000), server.change_to(CONTENT)]
    done = Fetched(owner, tmp_path)
    assert done.path.read_bytes() == CONTENT
    assert [asked for _, asked in owner.requests] == ["", "bytes=1000-", ""]
    assert "its MD5 should be" in done.said[1]
    assert done.said[1].endswith("(10,240 bytes); begins anew")


def test_a_file_of_another_length_is_noticed_before_it_is_read(owner, tmp_path):
    owner.script = [server.cut(1000), server.change_to(CONTENT + b"more")]
    with pytest.raises(DataError, match="it should have 10,240 bytes, the server has 10,244"):
        Fetched(owner, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_wrong_checksum_is_refused_after_a_second_try_and_gets_no_final_name(owner, tmp_path):
    owner.content = OTHER
    with pytest.raises(DataError, match=r"is not the file expected.*MD5 should be") as caught:
        Fetched(owner, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(owner.requests) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(owner, tmp_path, status):
    owner.script = [server.refuse(status)]
    with pytest.raises(DataError, match=f"the server answers {status}"):
        Fetched(owner, tmp_path)
    assert len(owner.requests) == 1


def test_redirects_in_a_circle_are_one_line(owner, tmp_path):
    def back(handler):
        handler.send(303, b"", Location=owner.url + handler.path)

    owner.script = [back] * 20
    with pytest.raises(DataError, match=r"the server answers 303.*by hand") as caught:
        Fetched(owner, tmp_path)
    assert "\n" not in str(caught.value)


def test_after_many_tries_it_gives_up_and_keeps_what_came_for_the_next_call(owner, tmp_path):
    owner.script = [server.cut(1000), *[server.refuse(503)] * (len(WAITS) + 1)]
    with pytest.raises(DataError, match="the same command goes on later"):
        Fetched(owner, tmp_path)
    assert owner.script == []
    assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[:1000]
    owner.requests.clear()
    assert Fetched(owner, tmp_path).path.read_bytes() == CONTENT
    assert owner.requests == [("/42", "bytes=1000-")]


def test_waits_grow_until_a_try_brings_something(owner, tmp_path):
    owner.script = [*[server.refuse(500)] * 4, server.cut(10), server.refuse(500)]
    assert Fetched(owner, tmp_path).waits == [1, 2, 4, 8, 1, 1]


def test_without_a_connection_the_same_holds(owner, tmp_path):
    owner.server_close()
    with pytest.raises(DataError, match=r"cannot be had: no connection .* tried 9 times"):
        Fetched(owner, tmp_path)


def test_a_second_call_asks_for_nothing(owner, tmp_path):
    Fetched(owner, tmp_path)
    owner.requests.clear()
    Fetched(owner, tmp_path)
    assert owner.requests == []


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_complete_is_only_checked(owner, tmp_path, size):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    assert Fetched(owner, tmp_path, size=size).path.read_bytes() == CONTENT
    assert [asked for _, asked in owner.requests] == ([] if size else ["bytes=10240-"])


def test_a_part_that_is_too_long_begins_anew(owner, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    assert Fetched(owner, tmp_path).path.read_bytes() == CONTENT


def test_md5_of_a_file(tmp_path):
    (tmp_path / "empty").touch()
    assert file_md5(tmp_path / "empty") == "d41d8cd98f00b204e9800998ecf8427e"
