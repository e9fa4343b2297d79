"""Minutes until a validation accuracy is reached: this project's recipe against the usual one.

Both run alone, one after the other, on the same split, from the start of the command until they
have reached an accuracy of 0.82 and a balanced accuracy of 0.60, or the time is over; their epochs'
lines are read as they come. Where one did not get there, the highest level of both counts.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import parse_arguments

GOALS = {"accuracy": 0.82, "balanced": 0.60}
FIGURES = re.compile(
    r"\| validation: .* accuracy (?P<accuracy>[\d.]+) +balanced (?P<balanced>[\d.]+)"
)
COLORS = {"this project": "tab:blue", "usual": "tab:orange"}

# Minutes, accuracy and balanced accuracy at the end of each epoch.
Curve = list[dict[str, float]]


def run(command: list[str], limit_minutes: float) -> Curve:
    """Run a training to its goals or until the time is over; returns its figures by the minute."""
    started = time.monotonic()
    curve: Curve = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(60 * limit_minutes, process.kill)
        timer.start()
        for line in process.stdout:
            found = FIGURES.search(line)
            if found:
                minutes = (time.monotonic() - started) / 60
                figures = {name: float(value) for name, value in found.groupdict().items()}
                curve.append({"minutes": minutes, **figures})
                print(f"{minutes:5.1f} min  {line.rstrip()}", flush=True)
            if curve and all(minutes_until(curve, *goal) < limit_minutes for goal in GOALS.items()):
                process.kill()
        stopped = process.wait() < 0
        timer.cancel()
    if not stopped and process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return curve


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
    curves = {}
    with tempfile.TemporaryDirectory() as scratch:
        commands = {
            "this project": ["train.py", *data, "--output_dir", scratch],
            "usual": ["-m", "benchmarks.usual_recipe", *data],
        }
        for label, command in commands.items():
            print(f"\n{label}", flush=True)
            curves[label] = run([sys.executable, *command], args.limit_minutes)
    plot(curves, Path(args.output))
    print(f"\ncurves: {args.output}\n\nminutes          this project   usual   ratio")
    ratios = [
        compare(curves["this project"], curves["usual"], name, goal, args.limit_minutes)
        for name, goal in GOALS.items()
    ]
    print(f"ratio: {min(ratios):.1f}")


if __name__ == "__main__":
    main()
