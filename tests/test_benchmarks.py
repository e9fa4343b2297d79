"""The benchmarks run, refuse bad input in one line, and compare as their tables say."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import time_to_accuracy, usual_recipe
from benchmarks.generated import grow
from benchmarks.growth import exponent
from benchmarks.machine import alternate, run_benchmark, run_python
from data.sample import write_sample_dataset
from data.sources import read_dataset
from support import InputError
from training.callbacks import EpochLog
from training.dataset import read_labeled_images
from training.phases import Phase
from training.settings import build_train_config

ROOT = Path(__file__).parent.parent
# Those that read no data set.
WITHOUT_DATA = ("fuzz", "growth", "step")
SHARED = ("artifacts", "corruptions", "damage", "fitting", "generated", "intact", "machine", "uses")
NAMES = sorted(
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if path.stem not in ("__init__", *SHARED)
)


def test_help_does_not_wait_for_tensorflow():
    imports = "; ".join(f"import benchmarks.{name}" for name in NAMES)
    code = f"{imports}; import sys; print({{'tensorflow', 'pandas'}} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "set()\n"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_DATA])
def test_a_missing_data_set_is_an_error_in_one_line(name, tmp_path, capsys):
    main = importlib.import_module(f"benchmarks.{name}").main
    output = ["--output", str(tmp_path / "a.png")] if name == "time_to_accuracy" else []
    assert main(["--data_dir", str(tmp_path / "nowhere"), *output]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m benchmarks.{name}: error: --data_dir: expected a folder")


@pytest.mark.parametrize(
    ("name", "argv", "message"),
    [
        (
            "training",
            ["--rounds", "0"],
            "--rounds: expected an integer of at least 1, received '0'",
        ),
        ("inference", ["--folder_images", "9"], "--folder_images: expected an integer of at least"),
        ("no_skin", ["--seed", "-1"], "--seed: expected an integer of at least 0, received '-1'"),
        (
            "fuzz",
            ["--cases", "many"],
            "--cases: expected an integer of at least 1, received 'many'",
        ),
        (
            "time_to_accuracy",
            ["--limit_minutes", "nan"],
            "--limit_minutes: expected a number of at",
        ),
    ],
)
def test_a_number_outside_its_limits_is_an_error_in_one_line(name, argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"benchmarks.{name}").main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of each program")
def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    large = bytearray(b"a") * 300_000_000
    code = "from benchmarks.machine import peak_memory; print(peak_memory(children=True))"
    assert 0 < float(run_python("-c", code)) < len(large) / 1e9


def test_unknown_models_are_named(capsys):
    main = importlib.import_module("benchmarks.backbones").main
    assert main(["--models", "mobilenet,resnet"]) == 2
    assert "--models: expected a model of sequential, mobile" in capsys.readouterr().err


def test_a_name_that_is_no_png_file_is_refused_before_the_training(capsys):
    assert time_to_accuracy.main(["--output", "curves.tiff9"]) == 2
    assert "--output: expected a name ending in .png" in capsys.readouterr().err


def curve(*points: tuple[float, float]) -> time_to_accuracy.Curve:
    return [{"minutes": minutes, "accuracy": accuracy} for minutes, accuracy in points]


def compare(ours, usual) -> float:
    return time_to_accuracy.compare(ours, usual, "accuracy", 0.8, limit=60)


def test_times_are_compared_at_the_goal_if_both_reached_it():
    ours = curve((2, 0.5), (4, 0.81), (6, 0.9))
    usual = curve((10, 0.6), (20, 0.82), (30, 0.79))
    assert compare(ours, usual) == 20 / 4


def test_otherwise_they_are_compared_at_the_highest_level_that_both_reached(capsys):
    ours = curve((2, 0.5), (4, 0.7), (5, 0.85))
    usual = curve((10, 0.6), (20, 0.7), (30, 0.65))
    assert compare(ours, usual) == 20 / 4
    # At the goal there is only a lower bound: 60 minutes were not enough.
    assert ">=12.0" in capsys.readouterr().out
    assert compare(usual, ours) == 4 / 20


def test_the_lines_that_a_training_prints_are_parsed(capsys):
    log = EpochLog([Phase("head", 1, 1e-3)], steps_per_epoch=5)
    log.on_epoch_begin(0)
    metrics = {"loss": 1.0, "accuracy": 0.5, "val_loss": 0.9}
    log.on_epoch_end(0, {**metrics, "val_accuracy": 0.751, "val_balanced_accuracy": 0.625})
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "head",
        "loss",
        "acc",
        "val_loss",
        "val_acc",
        "val_bal",
        "time",
        "ETA",
    ]
    assert len(heading) == len(line) == 80
    found = time_to_accuracy.METRICS.search(line)
    assert found.groupdict() == {"accuracy": "0.751", "balanced": "0.625"}


def line(accuracy: float, balanced: float) -> str:
    return f"epoch 1/2 1.0 0.5 1.0 {accuracy} {balanced} 9 s"


WAIT = "import signal; signal.pause()"


def contender(code: str) -> time_to_accuracy.Contender:
    return time_to_accuracy.Contender("a", [sys.executable, "-uc", code], limit_minutes=5)


def test_a_training_that_reached_both_goals_is_stopped_and_the_other_goes_on(capsys):
    wins = contender(f"print('{line(0.5, 0.7)}'); print('{line(0.9, 0.5)}'); {WAIT}")
    loses = contender(f"print('{line(0.5, 0.5)}')")
    time_to_accuracy.race([wins, loses], lambda contender: contender.turn(60))
    assert wins.process.returncode < 0
    assert loses.process.returncode == 0
    assert [point["accuracy"] for point in wins.curve] == [0.5, 0.9]
    assert [point["balanced accuracy"] for point in loses.curve] == [0.5]


def test_a_training_that_fails_stops_all(capsys):
    waits = contender(WAIT)
    fails = contender("raise SystemExit(3)")
    with pytest.raises(InputError, match="ended with exit code 3"):
        time_to_accuracy.race(
            [waits, fails], lambda contender: contender.turn(60 if contender is fails else 0)
        )
    assert waits.process.returncode < 0


def test_the_clock_stands_still_between_turns(capsys):
    waits = contender(WAIT)
    waits.turn(0)
    before = waits.minutes
    assert waits.minutes == before
    assert not waits.done
    waits.stop()
    assert waits.process.returncode < 0


def test_without_a_finished_epoch_a_longer_limit_is_the_remedy(tmp_path, capsys):
    data = write_sample_dataset(tmp_path / "data", images_per_class=1, seed=0)
    argv = ["--data_dir", str(data), "--output", str(tmp_path / "a.png"), "--limit_minutes", "0"]
    assert time_to_accuracy.main(argv) == 2
    assert "use a higher --limit_minutes" in capsys.readouterr().err


def test_the_exponent_is_the_slope_of_the_logarithms():
    assert exponent([10, 100, 1000], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert exponent([10, 100, 1000], [2.0, 200.0, 20_000.0]) == pytest.approx(2)
    # What is too small to measure says nothing.
    assert exponent([10, 100, 1000], [0.01, 1.0, 100.0], floor=0.02) == pytest.approx(2)
    assert exponent([10, 100], [0.01, 1.0], floor=0.02) is None
    assert exponent([10, 100], [float("nan")] * 2) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a stage")
def test_the_memory_of_a_stage_is_its_peak_without_what_was_there_before():
    code = (
        "from benchmarks.machine import stage_memory\n"
        "kept = b'a' * 200_000_000\n"
        "with stage_memory() as first: b'a' * 90_000_000\n"
        "print(first())\n"
        "with stage_memory() as second: b'a' * 30_000_000\n"
        "print(second())"
    )
    first, second = map(float, run_python("-c", code).split())
    assert first == pytest.approx(0.09, abs=0.01)
    assert second == pytest.approx(0.03, abs=0.01)


def test_the_generated_images_and_their_table_grow_together(tmp_path, monkeypatch):
    grow(tmp_path, 0, 5)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    grow(tmp_path, 5, 9)
    frame = read_dataset(tmp_path).frame
    assert len(frame) == frame["path"].nunique() == 9
    # Each fourth image is another one of the lesion of the third.
    assert frame["lesion_id"].nunique() == 7
    assert frame.groupby("lesion_id")["label"].nunique().max() == 1
    after = {path.name: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    assert before.items() <= after.items()
    assert len(set(after.values())) == 9


def test_both_recipes_have_the_same_split(sample_dir, monkeypatch):
    frames = []

    def stop(frame, seed):
        frames.append(frame)
        raise KeyboardInterrupt

    monkeypatch.setattr(usual_recipe, "make_batches", stop)
    argv = ["--data_dir", str(sample_dir), "--seed", "3"]
    assert usual_recipe.main(argv) == 130
    settings = build_train_config({"data_dir": str(sample_dir), "split_seed": 3})
    assert frames[0]["split"].equals(read_labeled_images(settings).frame["split"])


def test_a_benchmark_that_skipped_files_says_so_by_its_exit_code():
    for skipped, code in ((None, 0), (0, 0), (2, 1)):
        found = run_benchmark("x", "doc", lambda _, n=skipped: n, [], has_data=False)
        assert found == code


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
        "pipeline --images 64 --image_size 32 --rounds 1",
        "training --images 64 --image_size 32 --steps 2 --rounds 1",
        "inference --images 64 --folder_images 100 --rounds 1",
        "startup --rounds 1",
        "no_skin --images 3",
        "growth --images 100 --image_size 32 --output {folder}/plot.png",
        "step --image_size 32 --steps 2",
        "robustness --images 14 --output {folder}/plot.png",
        "backbones --models sequential,mobilenet --images 64 --epochs 1 --image_size 32 --rounds 1",
    ],
)
def test_a_benchmark_ends_with_a_ratio(command, tmp_path):
    write_sample_dataset(tmp_path / "data", images_per_class=15, seed=0)
    name, *options = command.format(folder=tmp_path).split()
    if name not in WITHOUT_DATA:
        options += ["--data_dir", str(tmp_path / "data")]
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert re.fullmatch(r"ratio: \d+\.\d+", run.stdout.splitlines()[-1])
