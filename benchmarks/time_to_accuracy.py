"""Minutes until a validation accuracy is reached: this project's recipe and the usual one.

Both train on the same split, in turns of a minute, with the other one paused, so that a drifting
machine favors neither. Each has a clock that stands still in the pauses. It starts with the command
and stops when accuracy 0.82 and balanced accuracy 0.70 are reached, or the time is over. Where one
did not reach a goal, the highest value that both reached counts.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import plot_path, read_images, run_benchmark
from config import RUNS_DIR
from metrics.png import save_figure
from support import InputError
from support.cli import naming_flag
from support.files import make_folder

GOALS = {"accuracy": 0.82, "balanced accuracy": 0.70}
# The line that `training.callbacks.EpochLog` prints.
METRICS = re.compile(r"^epoch +\d+/\d+ +\S+ +\S+ +\S+ +(?P<accuracy>[\d.]+) +(?P<balanced>[\d.]+) ")
TURN_SECONDS = 60
COLORS = {"this project": "tab:blue", "usual recipe": "tab:orange"}

# Minutes, accuracy and balanced accuracy at the end of each epoch.
Curve = list[dict[str, float]]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "time_to_accuracy",
        __doc__,
        measure,
        argv,
        seed=(0, "seed of split, order and augmentation", 0),
        limit_minutes=(75.0, "minutes for each recipe", 0.0),
        output=(f"{RUNS_DIR}/time_to_accuracy.png", "plot of the curves, a .png file"),
    )


def measure(options: argparse.Namespace) -> None:
    """Train with both recipes, compare and plot."""
    output, limit = plot_path(options.output), options.limit_minutes
    with naming_flag("--output"):
        make_folder(output.parent)
    read_images(options.data_dir)
    data = ["--data_dir", options.data_dir, "--seed", str(options.seed)]
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "this project": [
                "train.py",
                *data,
                "--split_seed",
                str(options.seed),
                "--output_dir",
                folder,
            ],
            "usual recipe": ["-m", "benchmarks.usual_recipe", *data],
        }
        contenders = [
            Contender(label, [sys.executable, *command], limit)
            for label, command in commands.items()
        ]
        race(contenders, lambda contender: contender.turn(TURN_SECONDS))
    curves = {contender.label: contender.curve for contender in contenders}
    for label, curve in curves.items():
        if not curve:
            raise InputError(
                f"{label}: expected a finished epoch within {limit:g} minutes, received none; "
                "use a higher --limit_minutes"
            )
    plot(curves, output)
    print(f"\ncurves: {output}\n")
    print("validation metric  level  this project, min  usual recipe, min  ratio")
    ours, usual = curves.values()
    ratios = [compare(ours, usual, name, goal, limit) for name, goal in GOALS.items()]
    print(f"ratio: {min(ratios):.1f}")


class Contender:
    """A training that runs in turns.

    Args:
        label: for display.
        command: arguments of the process.
        limit_minutes: by its own clock, after which it is stopped.
    """

    def __init__(self, label: str, command: list[str], limit_minutes: float) -> None:
        self.label, self.command, self.limit = label, command, limit_minutes
        self.curve: Curve = []
        self.process: subprocess.Popen | None = None
        self.seconds_before, self.since = 0.0, None

    @property
    def minutes(self) -> float:
        """Time of all turns so far."""
        running = 0.0 if self.since is None else time.monotonic() - self.since
        return (self.seconds_before + running) / 60

    @property
    def done(self) -> bool:
        """Whether it ended, reached both goals, or used up its time."""
        reached = all(minutes_until(self.curve, *goal) < self.limit for goal in GOALS.items())
        ended = self.process is not None and self.process.poll() is not None
        return ended or reached or self.minutes >= self.limit

    def turn(self, seconds: float) -> None:
        """Let it run for some seconds, or until it is done.

        Raises:
            InputError: it failed.
        """
        started = self.since = time.monotonic()
        if self.process is None:
            # A session of its own can be paused and stopped with all processes that it started.
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            self.reader = threading.Thread(target=self._read, daemon=True)
            self.reader.start()
        else:
            os.killpg(self.process.pid, signal.SIGCONT)
        while time.monotonic() < started + seconds and not self.done:
            self.reader.join(0.2)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGSTOP)
        self.seconds_before, self.since = 60 * self.minutes, None
        if self.process.poll():
            command = shlex.join(self.command)
            raise InputError(f"{command} ended with exit code {self.process.returncode}")

    def stop(self) -> None:
        """Stop the process, paused or not."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()

    def _read(self) -> None:
        for line in self.process.stdout:
            found = METRICS.search(line)
            if found:
                values = dict(zip(GOALS, map(float, found.groups()), strict=True))
                self.curve.append({"minutes": self.minutes, **values})
                print(f"{self.label:<12} {self.minutes:5.1f} min  {line.rstrip()}", flush=True)


def race(contenders: list[Contender], turn: Callable[[Contender], None]) -> None:
    """Give each its turns until all are done, and stop them whatever happens."""
    try:
        while waiting := [contender for contender in contenders if not contender.done]:
            for contender in waiting:
                turn(contender)
    finally:
        for contender in contenders:
            contender.stop()


def minutes_until(curve: Curve, name: str, level: float) -> float:
    """Return when a metric first reached a level, infinity if never."""
    return next((point["minutes"] for point in curve if point[name] >= level), float("inf"))


def compare(ours: Curve, usual: Curve, name: str, goal: float, limit: float) -> float:
    """Print when both reached the goal, and the highest level that both reached.

    Returns:
        The usual recipe's minutes divided by ours, at the goal if both reached it, else at the
        highest level that both reached.
    """
    common = min(max(point[name] for point in curve) for curve in (ours, usual))
    ratios = {}
    for level, note in ((goal, "goal"), (common, "highest that both reached")):
        first, second = (minutes_until(curve, name, level) for curve in (ours, usual))
        shown = [f"{minutes:.1f}" if minutes < limit else "never" for minutes in (first, second)]
        # A recipe that never reached the level would have needed more than the limit.
        ratios[level] = min(second, limit) / first
        sign = ">=" if first < limit <= second else ""
        ratio = f"{sign}{ratios[level]:.1f}" if first < limit else "-"
        print(f"{name:<17}  {level:.3f}  {shown[0]:>17}  {shown[1]:>17}  {ratio:>5}  {note}")
    return ratios[min(goal, common)]


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Plot both metrics of both recipes over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, (name, goal) in zip(figure.subplots(1, 2), GOALS.items(), strict=True):
        for label, curve in curves.items():
            minutes = [point["minutes"] for point in curve]
            values = [point[name] for point in curve]
            axes.plot(minutes, values, marker="o", markersize=3, color=COLORS[label], label=label)
        axes.axhline(goal, color="gray", linewidth=0.8, linestyle="--")
        axes.set(title=f"Validation {name}", xlabel="minutes since the start of the command")
        axes.set_xlim(0, None)
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
