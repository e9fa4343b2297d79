"""A copy of the process tries what a foreign file does, and takes the harm."""

import os
import signal
import time

import pytest

from models import ModelError
from models.trial import try_first


def failure(function) -> str:
    with pytest.raises(ModelError) as caught:
        try_first(function, expected="a file that HDF5 can read")
    return str(caught.value)


def test_a_function_that_ends_runs_in_another_process(tmp_path):
    path = tmp_path / "pid"
    try_first(lambda: path.write_text(str(os.getpid())), expected="a file")
    assert int(path.read_text()) != os.getpid()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_one_line(number):
    found = failure(lambda: os.kill(os.getpid(), number))
    assert found == "expected a file that HDF5 can read, it crashes"


def test_a_library_that_ends_the_process_is_a_crash():
    assert failure(lambda: os._exit(3)) == "expected a file that HDF5 can read, it crashes"


def test_more_memory_than_models_need_is_refused():
    found = failure(lambda: bytearray(3 << 30))
    assert found == "expected a file that HDF5 can read, it takes too much memory"


def test_memory_that_is_full_of_small_objects_is_refused(monkeypatch):
    monkeypatch.setattr("models.trial._MAX_MEMORY", 60 << 20)

    def fill() -> None:
        kept = []
        while True:
            kept.append({"a": 1})

    assert "it takes too much memory" in failure(fill) or "it crashes" in failure(fill)


def test_a_file_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr("models.trial._MAX_SECONDS", 1)
    start = time.monotonic()
    found = failure(signal.pause)
    assert found == "expected a file that HDF5 can read, it takes too long"
    assert time.monotonic() - start < 10


def test_an_error_is_told_by_its_first_line():
    def fail():
        raise RuntimeError("no such node\nsecond line")

    assert failure(fail) == "expected a file that HDF5 can read, it fails: no such node"


def test_a_refusal_is_told_as_it_is():
    def refuse():
        raise ModelError("expected one graph, received 2")

    assert failure(refuse) == "expected one graph, received 2"


def test_a_long_message_does_not_block():
    def fail():
        raise RuntimeError("x" * 1_000_000)

    assert len(failure(fail)) <= 1000
