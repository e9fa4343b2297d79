import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import time_to_accuracy
from benchmarks.machine import alternate
from data.sample import write_sample_dataset
from models.progress import Progress
from models.training import Phase

ROOT = Path(__file__).parent.parent


def curve(*points: tuple[float, float]) -> time_to_accuracy.Curve:
    return [{"minutes": minutes, "accuracy": accuracy} for minutes, accuracy in points]


def compare(ours, usual) -> float:
    return time_to_accuracy.compare(ours, usual, "accuracy", 0.8, limit=60)


def test_time_is_compared_at_the_goal_where_both_reach_it():
    ours = curve((2, 0.5), (4, 0.81), (6, 0.9))
    usual = curve((10, 0.6), (20, 0.82), (30, 0.79))
    assert compare(ours, usual) == 20 / 4


def test_else_at_the_highest_level_that_both_reached(capsys):
    ours = curve((2, 0.5), (4, 0.7), (5, 0.85))
    usual = curve((10, 0.6), (20, 0.7), (30, 0.65))
    assert compare(ours, usual) == 20 / 4
    # By the goal there is only a bound: 60 minutes were not enough.
    assert ">=12.0" in capsys.readouterr().out
    assert compare(usual, ours) == 4 / 20


def test_reads_the_lines_that_training_prints(capsys):
    progress = Progress([Phase("head", 1, 1e-3)], steps_per_epoch=5)
    progress.on_epoch_begin(0)
    figures = {"loss": 1.0, "accuracy": 0.5, "val_loss": 0.9}
    progress.on_epoch_end(0, {**figures, "val_accuracy": 0.751, "val_balanced_accuracy": 0.625})
    found = time_to_accuracy.FIGURES.search(capsys.readouterr().out)
    assert found.groupdict() == {"accuracy": "0.751", "balanced": "0.625"}


def line(accuracy: float, balanced: float) -> str:
    return f"| validation: loss 1.0  accuracy {accuracy}  balanced {balanced} |"


WAIT = "import signal; signal.pause()"


def contender(code: str) -> time_to_accuracy.Contender:
    return time_to_accuracy.Contender("a", [sys.executable, "-uc", code], limit_minutes=5)


def test_who_has_reached_both_goals_is_ended_and_the_others_go_on(capsys):
    wins = contender(
        f"print('{line(0.5, 0.7)}'); print('{line(0.9, 0.5)}'); import signal; signal.pause()"
    )
    loses = contender(f"print('{line(0.5, 0.5)}')")
    time_to_accuracy.race([wins, loses], lambda one: one.turn(60))
    assert wins.process.returncode < 0
    assert loses.process.returncode == 0
    assert [point["accuracy"] for point in wins.curve] == [0.5, 0.9]
    assert [point["balanced"] for point in loses.curve] == [0.5]


def test_a_training_that_fails_ends_all(capsys):
    waits = contender(WAIT)
    fails = contender("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="ended with 3"):
        time_to_accuracy.race([waits, fails], lambda one: one.turn(60 if one is fails else 0))
    assert waits.process.returncode < 0


def test_the_clock_stands_still_between_turns(capsys):
    one = contender(WAIT)
    one.turn(0)
    before = one.minutes
    assert one.minutes == before
    assert not one.done
    one.end()
    assert one.process.returncode < 0


def test_measurements_are_taken_in_turn_and_their_median_counts():
    taken = []

    def measure(name, values):
        values = iter(values)
        return lambda: taken.append(name) or next(values)

    medians = alternate(3, a=measure("a", [1, 9, 2]), b=measure("b", [4, 3, 5]))
    assert medians == {"a": 2, "b": 4}
    assert taken == ["a", "b"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "pipeline --images 64 --rounds 1",
        "training --images 64 --steps 2 --rounds 1",
        "inference --images 64 --folder_images 100 --rounds 1",
        "startup --rounds 1",
        "no_skin --images 3",
        "backbones --models sequential,mobilenet --images 64 --epochs 1 --image_size 32 --rounds 1",
    ],
)
def test_runs_and_ends_with_a_ratio(command, tmp_path):
    write_sample_dataset(tmp_path / "data", images_per_class=15, seed=0)
    module, *options = command.split()
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--data_dir", tmp_path / "data", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"ratio: \d+\.\d+", run.stdout.splitlines()[-1])
