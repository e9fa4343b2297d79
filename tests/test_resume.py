"""An interrupted training resumes to the same end as without the interruption."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny
from tiny import read_events

import config
import train
from models.bundle import load_model
from models.description_checks import peek_description
from training import TrainingError
from training.callbacks import EpochLog
from training.checkpoint import load_checkpoint
from training.phases import Phase
from training.run import Run

pytestmark = pytest.mark.usefixtures("shallow_baseline")
# The head phase trains on smaller images.
PHASES = [Phase("head", 2, 1e-3, image_size=6), Phase("train", 4, 2e-3)]


def fit(folder, *, resume: bool = False, phases=PHASES, **options):
    """Train a tiny model in a folder."""
    # The initial weights of a resumed training must not matter.
    keras.utils.set_random_seed(99 if resume else 0)
    data = tiny.tiny_data(6, 8)
    return tiny.fit(folder, model=tiny.tiny_model(), data=data, phases=phases, **options)


def stop_after(finished: int, folder, monkeypatch, **options) -> None:
    """Train until an epoch is finished and its checkpoint written, and no further."""
    with tiny.stopping_after(finished, monkeypatch):
        fit(folder, **options)


@pytest.mark.parametrize(
    ("average_epochs", "stops"),
    [pytest.param(0.0, (1, 4), marks=pytest.mark.slow), (1.5, (2, 3, 6))],
)
@pytest.mark.slow
def test_a_resumed_training_has_the_history_and_weights_of_an_uninterrupted_one(
    tmp_path, monkeypatch, average_epochs, stops
):
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = fit(whole, average_epochs=average_epochs)
    for finished in stops:
        stopped = tmp_path / f"{finished}"
        stopped.mkdir()
        stop_after(finished, stopped, monkeypatch, average_epochs=average_epochs)
        assert fit(stopped, average_epochs=average_epochs, resume=True) == expected
        assert (stopped / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
        states = [load_checkpoint(run / "resume.npz").model for run in (whole, stopped)]
        assert all((a == b).all() for a, b in zip(*states, strict=True))
        weights = [load_model(run / "model.keras").get_weights() for run in (whole, stopped)]
        assert all((a == b).all() for a, b in zip(*weights, strict=True))


@pytest.mark.slow
def test_patience_remembers_the_epochs_before(tmp_path, monkeypatch):
    # Without learning, the balanced accuracy stays the same and the first epoch the best.
    phases = [Phase("train", 5, 0.0)]
    options = {"phases": phases, "patience": 2, "monitor": "balanced_accuracy"}
    stop_after(2, tmp_path, monkeypatch, **options)
    result = fit(tmp_path, **options, resume=True)
    assert (len(result.history), result.best_epoch, result.stopped_early) == (3, 1, True)
    assert fit(tmp_path, **options, resume=True) == result


def test_without_a_finished_epoch_training_starts_from_the_beginning(tmp_path):
    assert len(fit(tmp_path, phases=PHASES[:1], resume=True).history) == 2


def test_a_damaged_checkpoint_or_that_of_another_model_is_refused(tmp_path):
    fit(tmp_path, phases=PHASES[:1])
    state = (tmp_path / "resume.npz").read_bytes()
    (tmp_path / "resume.npz").write_bytes(state[: len(state) // 2])
    with pytest.raises(TrainingError, match=r"resume\.npz is damaged: .*; start a new run"):
        fit(tmp_path, phases=PHASES[:1], resume=True)
    with (tmp_path / "resume.npz").open("wb") as file:
        np.savez(file, history="[]", model_0=np.zeros(3))
    with pytest.raises(TrainingError, match="of other shapes"):
        fit(tmp_path, phases=PHASES[:1], resume=True)


SMALL = ["--model", "sequential", "--image_size", "32", "--batch_size", "8"]


@pytest.fixture(scope="module")
def stopped_once(sample_dir, tmp_path_factory) -> Path:
    """A run on a copy of the synthetic images, interrupted by Ctrl-C after its second epoch."""
    root = tmp_path_factory.mktemp("stopped")
    shutil.copytree(sample_dir, root / "data")

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    argv = ["--data_dir", str(root / "data"), "--output_dir", str(root / "runs")]
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.setattr(EpochLog, "on_epoch_end", interrupt)
        assert train.main([*SMALL, *argv, "--epochs", "3", "--tensorboard"]) == 130
    (run,) = (root / "runs").iterdir()
    message = errors.getvalue().splitlines()[-1]
    assert message.endswith(f"resume with: python train.py --resume {run}")
    return run


@pytest.fixture
def stopped_run(stopped_once, tmp_path) -> Iterator[Path]:
    """The same run; it and its images, which it finds by their path, are restored afterwards."""
    root = stopped_once.parent.parent
    shutil.copytree(root, tmp_path / "copy")
    yield stopped_once
    shutil.rmtree(root)
    shutil.copytree(tmp_path / "copy", root)


@pytest.mark.slow
def test_the_command_that_ctrl_c_prints_finishes_the_run(stopped_run, capsys):
    assert train.main(["--resume", str(stopped_run)]) == 0
    assert len((stopped_run / "history.csv").read_text().splitlines()) == 4
    assert {path.name for path in stopped_run.iterdir()} == {
        "config.json",
        "history.csv",
        "learning_curves.png",
        "logs",
        "model.keras",
        "split.csv",
    }
    curves = [(tag, step) for tag, step, _ in read_events(stopped_run / "logs" / "validation")]
    assert [step for tag, step in curves if tag == "epoch_loss"] == [1, 2, 3]
    assert curves[-1][0] == "confusion_matrix"
    assert read_events(stopped_run / "logs" / "train")[-1][:2] == ("augmented_images", 3)
    assert train.main(["--resume", str(stopped_run)]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_changed_settings_or_images_of_a_run_are_named(stopped_run, capsys):
    path = stopped_run / "config.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "config": {**record["config"], "epochs": 9}}))
    assert train.main(["--resume", str(stopped_run)]) == 2
    error = capsys.readouterr().err
    assert "1 setting changed since" in error
    assert "epochs: 3 before, 9 now" in error
    path.write_text(json.dumps(record))
    (table,) = (stopped_run.parent.parent / "data").glob("*.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    assert train.main(["--resume", str(stopped_run)]) == 2
    assert "changed since" in capsys.readouterr().err


@pytest.mark.slow
def test_a_changed_class_list_of_a_run_is_refused(sample_dir, tmp_path, monkeypatch, capsys):
    path = tmp_path / "classes.csv"
    path.write_text("nv,nevus,benign\nmel,melanoma,malignant\nbcc,,malignant\n")
    argv = ["--data_dir", str(sample_dir), "--output_dir", str(tmp_path / "runs")]
    argv += ["--classes", str(path), "--allow_missing"]
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_epoch_end", interrupt)
        assert train.main([*SMALL, *argv, "--epochs", "2"]) == 130
    (run,) = (tmp_path / "runs").iterdir()
    before = path.read_text()
    # The same images and labels, but the outputs would be others.
    for changed, message in {
        before + "scar,,benign\n": "the classes changed since .*: nv, mel, bcc before, nv, mel, ",
        before.replace(",nevus", ",mole"): "the descriptions of the classes changed since",
        before.replace("bcc,,malignant", "bcc,,benign"): "the malignant classes changed since",
    }.items():
        path.write_text(changed)
        capsys.readouterr()
        assert train.main(["--resume", str(run)]) == 2
        assert re.search(f"--resume: {message}", capsys.readouterr().err)
    path.write_text(before)
    assert train.main(["--resume", str(run)]) == 1  # other classes were skipped
    description = peek_description(run / "model.keras")
    assert description.class_names == ("nv", "mel", "bcc")
    assert description.malignant == ("mel", "bcc")
    assert description.class_titles["nv"] == "nevus"


@pytest.mark.parametrize("flags", [["--epochs", "3"], ["--sample"]])
def test_resume_takes_no_other_flag(capsys, flags):
    with pytest.raises(SystemExit) as stop:
        train.main(["--resume", "runs/x", *flags])
    assert stop.value.code == 2
    assert f"remove {flags[0]}" in capsys.readouterr().err


def test_a_folder_without_a_run_does_not_resume(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path)])
    assert "--resume: expected the folder of a run" in capsys.readouterr().err


def interrupt(*_) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_resume_needs_no_imagenet_weights_once_an_epoch_is_finished(
    sample_dir, tmp_path, monkeypatch
):
    from models import transfer

    flags = ["--image_size", "32", "--batch_size", "16", "--head_epochs", "2", "--epochs", "0"]
    flags += ["--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_epoch_end", interrupt)
        # The weights are in Keras's cache for this process, and gone for the next.
        patch.setattr(transfer, "_load_imagenet", lambda *_: None)
        assert train.main(flags) == 130
    (run,) = tmp_path.iterdir()
    assert train.main(["--resume", str(run)]) == 0
    assert (run / "learning_curves.png").exists()


@pytest.mark.slow
def test_a_resumed_sample_run_keeps_its_own_settings(sample_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(config.PRESETS["sample"], "data_dir", str(sample_dir))
    flags = ["--sample", "--model", "mobilenet", "--epochs", "2", "--image_size", "32"]
    flags += ["--fine_tune_layers", "5", "--output_dir", str(tmp_path)]

    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_epoch_end", interrupt)
        assert train.main(flags) == 130
    (run,) = tmp_path.iterdir()
    before = Run(run).read_config()
    assert (before.epochs, before.image_size, before.fine_tune_layers) == (2, 32, 5)
    # A resumed run is built from its settings alone, also when no epoch was finished.
    Run(run).checkpoint.unlink()
    used = []

    def record(settings, run, classes):
        used.append(settings)
        interrupt()

    monkeypatch.setattr("training.recipe.build", record)
    assert train.main(["--resume", str(run)]) == 130
    assert used == [dataclasses.replace(before, resume=str(run))]


@pytest.mark.slow
def test_mobilenet_resumes_in_each_of_its_phases(sample_dir, tmp_path, monkeypatch, capsys):
    # Head and first epoch at 32 px, two more at 64 px.
    preset = {"small_epochs_fraction": 0.4, "head_epochs": 1}
    monkeypatch.setitem(config.PRESETS, "from_scratch", preset)
    argv = ["--model", "mobilenet", "--weights", "none", "--image_size", "64", "--epochs", "3"]
    argv += ["--data_dir", str(sample_dir), "--output_dir"]
    assert train.main([*argv, str(tmp_path / "whole")]) == 0
    (whole,) = (tmp_path / "whole").iterdir()
    phases = [line.split(",")[1] for line in (whole / "history.csv").read_text().splitlines()]
    assert phases[1:] == ["head", "small", "fine-tune", "fine-tune"]
    command = [*argv, str(tmp_path / "stopped")]
    for last in (0, 1, 2):

        def interrupt(self, epoch, logs=None, last=last):
            if epoch == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(EpochLog, "on_epoch_end", interrupt)
            assert train.main(command) == 130
        (run,) = (tmp_path / "stopped").iterdir()
        load_model(run / "model.keras")
        command = ["--resume", str(run)]
    assert train.main(command) == 0
    assert (run / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
    one, other = (load_model(path / "model.keras") for path in (whole, run))
    assert all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def run_killed(point: str, argv: list[str]) -> subprocess.CompletedProcess:
    script = Path(__file__).parent / "killed.py"
    command = [sys.executable, str(script), point, *argv]
    return subprocess.run(command, capture_output=True, text=True, cwd=script.parent.parent)


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing(sample_dir, tmp_path):
    argv = [*SMALL, "--data_dir", str(sample_dir), "--epochs", "40"]
    whole = run_killed("never", [*argv, "--output_dir", str(tmp_path / "whole")])
    assert whole.returncode == 0, whole.stderr
    (expected,) = (tmp_path / "whole").iterdir()
    rng = np.random.default_rng(0)
    points = [f"step {n}" for n in rng.integers(1, 9, 8)]
    points += [f"write {n}" for n in rng.integers(1, 40, 8)]
    points += [f"rename {n}" for n in rng.integers(1, 6, 8)]
    rng.shuffle(points)
    command = [*argv, "--output_dir", str(tmp_path / "killed")]
    killed = 0
    for point in points:
        done = run_killed(point, command)
        assert done.returncode in (-9, 0), done.stderr
        killed += done.returncode == -9
        for run in (tmp_path / "killed").glob("*"):
            if (run / "model.keras").exists():
                load_model(run / "model.keras")
            if (run / "resume.json").exists():
                command = ["--resume", str(run)]
    done = run_killed("never", command)
    assert done.returncode == 0, done.stderr
    print(f"killed {killed} times at {len(points)} points")
    assert killed >= 20
    (run,) = [path.parent for path in (tmp_path / "killed").glob("*/learning_curves.png")]
    assert (run / "history.csv").read_bytes() == (expected / "history.csv").read_bytes()
    one, other = (load_model(path / "model.keras") for path in (expected, run))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert (a == b).all()
    assert Run(run).read_config().epochs == 40


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_model_and_the_run_resumes(sample_dir, tmp_path):
    argv = [*SMALL, "--data_dir", str(sample_dir), "--epochs", "3", "--output_dir"]
    # With six steps per epoch, the save after the second epoch finds no space.
    done = run_killed("full 7", [*argv, str(tmp_path / "full")])
    assert done.returncode == 2
    (run,) = (tmp_path / "full").iterdir()
    *_, line = done.stderr.splitlines()
    assert re.fullmatch(
        rf"train\.py: error: .*file too large.*; best epoch so far: {run}/model\.keras; "
        rf"resume with: python train\.py --resume {run}",
        line,
    )
    load_model(run / "model.keras")
    assert not list(run.glob("*part*"))
    assert run_killed("never", ["--resume", str(run)]).returncode == 0
    assert run_killed("never", [*argv, str(tmp_path / "whole")]).returncode == 0
    (whole,) = (tmp_path / "whole").iterdir()
    assert (run / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
