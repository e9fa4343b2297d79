"""What a command shows while it runs: one progress bar, durations, sizes."""

import sys
import time
from typing import TextIO

_BAR_WIDTH = 24
_REDRAW_SECONDS = 0.2


class Progress:
    """A progress bar on one line of a terminal.

    Elsewhere, as in a log file, it is silent, or logs a line at each tenth.

    Args:
        label: text before the bar.
        unit: `bytes` to show sizes and the transfer rate; else the name of what is counted.
        stream: a text stream; by default the current `sys.stderr`.
        log_tenths: whether to log tenths where the stream is no terminal, if it takes longer than
            a second.
    """

    def __init__(
        self,
        label: str,
        *,
        unit: str = "images",
        stream: TextIO | None = None,
        log_tenths: bool = False,
    ) -> None:
        self.label, self.unit = label, unit
        self._stream = stream
        self._log_tenths = log_tenths
        self._first: tuple[float, int] | None = None
        self._drawn = 0.0
        self._tenth = 0

    @property
    def stream(self) -> TextIO:
        """The stream that the bar is drawn on."""
        return self._stream or sys.stderr

    def update(
        self, done: int, total: int | None, *, note: str = "", seconds_left: float | None = None
    ) -> None:
        """Show a count; the bar is cleared when all is done.

        Args:
            done: what is finished so far.
            total: of how many; None if unknown.
            note: shown in place of the count.
            seconds_left: estimate of the remaining time; by default from the rate so far.
        """
        now = time.monotonic()
        # What was done before the first call says nothing about the rate.
        self._first = self._first or (now, done)
        started, first = self._first
        rate = (done - first) / (now - started) if now > started else 0.0
        if seconds_left is None and total and rate:
            seconds_left = (total - done) / rate
        finished = done == total
        if self.stream.isatty():
            if finished:
                self.clear()
            elif now > self._drawn + _REDRAW_SECONDS:
                self._drawn = now
                line = self._line(done, total, rate, note, seconds_left)
                print(f"\r\x1b[K{line}", end="", file=self.stream, flush=True)
        elif self._log_tenths and total and not finished and now > started + 1:
            tenth = done * 10 // total
            if tenth > self._tenth:
                self._tenth = tenth
                line = self._line(done, total, rate, note, seconds_left)
                print(line, file=self.stream, flush=True)

    def clear(self) -> None:
        """Clear the line, so that something else can be printed there."""
        if self.stream.isatty():
            print("\r\x1b[K", end="", file=self.stream, flush=True)

    def _line(
        self, done: int, total: int | None, rate: float, note: str, seconds_left: float | None
    ) -> str:
        is_bytes = self.unit == "bytes"

        def show(count: float) -> str:
            return format_bytes(count) if is_bytes else f"{count:,.0f}"

        parts = [note or show(done)]
        bar = ""
        if total:
            filled = min(done, total) * _BAR_WIDTH // total
            bar = f" {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {done / total:4.0%}"
            if not note:
                parts = [f"{show(done)} of {show(total)}" + ("" if is_bytes else f" {self.unit}")]
        if is_bytes:
            parts.append(f"{show(rate)}/s")
        if seconds_left is not None:
            parts.append(f"{format_seconds(seconds_left)} left")
        return "  ".join([f"{self.label}{bar}", *parts])


def red(text: str) -> str:
    """Return text that is red where stdout is a terminal."""
    return f"\x1b[31m{text}\x1b[0m" if sys.stdout.isatty() else text


def format_seconds(seconds: float) -> str:
    """Format a duration for people: `48 s`, `12 min`, `1 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(count: float) -> str:
    """Format a size for people: `3.2 kB`, `10.10 MB`, `1.37 GB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"
