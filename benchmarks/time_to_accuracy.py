"""Minutes until a validation accuracy is reached: this project's recipe against the usual one.

Both train on the same split. They run in turns of a minute, the other one paused, so that a
machine that drifts favours neither, and each has a clock that stands still in the pauses. It starts
with the command and stops when accuracy 0.82 and balanced accuracy 0.60 are reached, or the time is
over; the lines that epochs leave are read as they come. Where one did not get there, the highest
level of both counts.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import parse_arguments

GOALS = {"accuracy": 0.82, "balanced": 0.60}
FIGURES = re.compile(
    r"\| validation: .* accuracy (?P<accuracy>[\d.]+) +balanced (?P<balanced>[\d.]+)"
)
TURN_SECONDS = 60
COLORS = {"this project": "tab:blue", "usual": "tab:orange"}

# Minutes, accuracy and balanced accuracy at the end of each epoch.
Curve = list[dict[str, float]]


class Contender:
    """A training that runs in turns.

    Args:
        label: for people.
        command: arguments of the process.
        limit_minutes: of its own clock, until it is ended.
    """

    def __init__(self, label: str, command: list[str], limit_minutes: float) -> None:
        self.label, self.command, self.limit = label, command, limit_minutes
        self.curve: Curve = []
        self.process: subprocess.Popen | None = None
        self.before, self.since = 0.0, None

    @property
    def minutes(self) -> float:
        """What the clock shows."""
        running = 0.0 if self.since is None else time.monotonic() - self.since
        return (self.before + running) / 60

    @property
    def done(self) -> bool:
        """Whether it ended, reached both goals, or used up its time."""
        reached = all(minutes_until(self.curve, *goal) < self.limit for goal in GOALS.items())
        ended = self.process is not None and self.process.poll() is not None
        return ended or reached or self.minutes >= self.limit

    def turn(self, seconds: float) -> None:
        """Let it run for so long, or until it is done.

        Raises:
            SystemExit: it failed.
        """
        started = self.since = time.monotonic()
        if self.process is None:
            # A session of its own can be paused and ended with all that it started.
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
        self.before, self.since = 60 * self.minutes, None
        if self.process.poll():
            sys.exit(f"{' '.join(self.command)} ended with {self.process.returncode}")

    def end(self) -> None:
        """End the process, paused or not."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()

    def _read(self) -> None:
        for line in self.process.stdout:
            found = FIGURES.search(line)
            if found:
                figures = {name: float(value) for name, value in found.groupdict().items()}
                self.curve.append({"minutes": self.minutes, **figures})
                print(f"{self.label:<12} {self.minutes:5.1f} min  {line.rstrip()}", flush=True)


def race(contenders: list[Contender], turn: Callable[[Contender], None]) -> None:
    """Give each its turns until all are done, and end them whatever happens."""
    try:
        while waiting := [one for one in contenders if not one.done]:
            for one in waiting:
                turn(one)
    finally:
        for one in contenders:
            one.end()


def minutes_until(curve: Curve, name: str, level: float) -> float:
    """Return when a figure first reached a level, infinity if never."""
    return next((point["minutes"] for point in curve if point[name] >= level), float("inf"))


def compare(ours: Curve, usual: Curve, name: str, goal: float, limit: float) -> float:
    """Print when both reached the goal, and the highest common level.

    Returns:
        The usual recipe's minutes over ours, at the goal if both reached it, else at the common
        level.
    """
    common = min(max(point[name] for point in curve) for curve in (ours, usual))
    ratios = {}
    for level, what in ((goal, "goal"), (common, "highest that both reached")):
        first, second = (minutes_until(curve, name, level) for curve in (ours, usual))
        shown = [f"{at:.1f}" if at < limit else "never" for at in (first, second)]
        # Who never got there would have needed more than the limit.
        ratios[level] = min(second, limit) / first
        sign = ">=" if first < limit <= second else ""
        figure = f"{sign}{ratios[level]:.1f}" if first < limit else "-"
        print(f"{name:<9} {level:.3f}  {shown[0]:>12}  {shown[1]:>6}  {figure:>6}  {what}")
    return ratios[min(goal, common)]


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Draw both figures of both recipes over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    titles = {"accuracy": "Validation accuracy", "balanced": "Validation balanced accuracy"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for label, curve in curves.items():
            minutes = [point["minutes"] for point in curve]
            values = [point[name] for point in curve]
            axes.plot(minutes, values, marker="o", markersize=3, color=COLORS[label], label=label)
        axes.axhline(GOALS[name], color="grey", linewidth=0.8, linestyle="--")
        axes.set(title=title, xlabel="minutes since the start of the command", xlim=(0, None))
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run both, compare, draw."""
    args = parse_arguments(
        __doc__,
        limit_minutes=(75.0, "minutes for each recipe"),
        output=("runs/time_to_accuracy.png", "picture of the curves"),
    )
    data = ["--data_dir", args.data_dir]
    with tempfile.TemporaryDirectory() as scratch:
        commands = {
            "this project": ["train.py", *data, "--output_dir", scratch],
            "usual": ["-m", "benchmarks.usual_recipe", *data],
        }
        contenders = [
            Contender(label, [sys.executable, *command], args.limit_minutes)
            for label, command in commands.items()
        ]
        race(contenders, lambda one: one.turn(TURN_SECONDS))
    curves = {one.label: one.curve for one in contenders}
    plot(curves, Path(args.output))
    print(f"\ncurves: {args.output}\n\nminutes          this project   usual   ratio")
    ratios = [
        compare(curves["this project"], curves["usual"], name, goal, args.limit_minutes)
        for name, goal in GOALS.items()
    ]
    print(f"ratio: {min(ratios):.1f}")


if __name__ == "__main__":
    main()
