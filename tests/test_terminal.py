import io

import pytest

from support import terminal
from support.terminal import Progress, format_bytes, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances by ten seconds with each look at it."""
    times = iter(range(0, 10_000, 10))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(times))


def test_a_terminal_shows_count_and_time_left_and_is_cleared_at_the_end(clock):
    stream = Terminal()
    progress = Progress("decoding", stream=stream)
    progress.update(0, 400)
    progress.update(100, 400)
    last = stream.getvalue().split("\r\x1b[K")[-1]
    assert last == f"decoding {'█' * 6}{'░' * 18}  25%  100 of 400 images  30 s left"
    progress.update(400, 400)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_download_shows_its_rate(clock):
    stream = Terminal()
    progress = Progress("a.zip", unit="bytes", stream=stream)
    progress.update(0, 4_000_000)
    progress.update(2_000_000, 4_000_000)
    assert stream.getvalue().endswith("50%  2.00 MB of 4.00 MB  200.0 kB/s  10 s left")


def test_a_file_gets_a_line_for_each_tenth_or_nothing(clock):
    silent, log = io.StringIO(), io.StringIO()
    for stream, log_tenths in ((silent, False), (log, True)):
        progress = Progress("a.zip", stream=stream, log_tenths=log_tenths)
        for done in (0, 5, 10, 15, 20, 100):
            progress.update(done, 100)
    assert silent.getvalue() == ""
    assert len(log.getvalue().splitlines()) == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(48.4, "48 s"), (99, "99 s"), (720, "12 min"), (3900, "1 h 05 min")]
)
def test_durations_read_well(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(3210, "3.2 kB"), (10_100_000, "10.10 MB"), (1.366e9, "1.37 GB")]
)
def test_sizes_read_well(count, text):
    assert format_bytes(count) == text
