"""A training that was stopped goes on to the same end."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import config
import train
from data.pipeline import make_dataset
from models import DivergedError, ModelError
from models.bundle import ClassProbabilities, load_model
from models.checkpoint import load_state
from models.training import Phase, train_model

COUNT, STEPS = 16, 2
# The first on smaller pictures.
PHASES = [Phase("head", 2, 1e-3, image_size=6), Phase("train", 4, 2e-3)]


class StoppedError(Exception):
    pass


def fit(run_dir, *, phases=PHASES, **options):
    """Train a tiny model on 16 tiny pictures."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, 8, 8, 3)).astype(np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.arange(COUNT) % 2]
    # What a resumed training starts from must not matter.
    keras.utils.set_random_seed(99 if options.get("resume") else 0)
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": 8}
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(2),
            ClassProbabilities(description),
        ]
    )

    def batches(side, first_epoch):
        return make_dataset(
            images[:, :side, :side],
            targets,
            batch_size=COUNT // STEPS,
            augmentation=lambda batch, seed, step: batch,
            first_epoch=first_epoch,
        )

    return train_model(
        model,
        batches,
        lambda side: make_dataset(images[:, :side, :side], targets, batch_size=8),
        phases=phases,
        steps_per_epoch=STEPS,
        run_dir=run_dir,
        **{"monitor": "loss", **options},
    )


def stop_after(finished: int, run_dir, monkeypatch, **options) -> None:
    """Train until an epoch is finished and its state written, and no further."""
    from models import training

    save = training.save_state

    def save_and_stop(model, history, run_dir):
        save(model, history, run_dir)
        if len(history) == finished:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_state", save_and_stop)
        with pytest.raises(StoppedError):
            fit(run_dir, **options)


@pytest.mark.parametrize(("average_steps", "stops"), [(0.0, (1, 4)), (3.0, (2, 3, 6))])
def test_goes_on_to_the_history_and_weights_of_the_uninterrupted_run(
    tmp_path, monkeypatch, average_steps, stops
):
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = fit(whole, average_steps=average_steps)
    for finished in stops:
        stopped = tmp_path / f"{finished}"
        stopped.mkdir()
        stop_after(finished, stopped, monkeypatch, average_steps=average_steps)
        assert fit(stopped, average_steps=average_steps, resume=True) == expected
        assert (stopped / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
        for one, other in zip(load_state(whole).model, load_state(stopped).model, strict=True):
            assert (one == other).all()
        weights = [load_model(run / "model.keras").get_weights() for run in (whole, stopped)]
        assert all((a == b).all() for a, b in zip(*weights, strict=True))


def test_patience_remembers_the_epochs_before(tmp_path, monkeypatch):
    # Balanced accuracy stays what it is where nothing learns, and the first epoch the best.
    phases = [Phase("train", 5, 0.0)]
    options = {"phases": phases, "patience": 2, "monitor": "balanced_accuracy"}
    stop_after(2, tmp_path, monkeypatch, **options)
    result = fit(tmp_path, **options, resume=True)
    assert (len(result.history), result.best_epoch, result.stopped_early) == (3, 1, True)
    assert fit(tmp_path, **options, resume=True) == result


def test_without_a_finished_epoch_resume_starts_from_the_beginning(tmp_path):
    assert len(fit(tmp_path, phases=PHASES[:1], resume=True).history) == 2


def test_a_loss_that_is_no_number_stops_and_says_where(tmp_path):
    with pytest.raises(DivergedError, match=r"step \d \(epoch \d\) at a learning rate of 1e\+30"):
        fit(tmp_path, phases=[Phase("train", 2, 1e30)], lr_schedule="constant", warmup_share=0.0)


def test_a_head_that_diverges_names_the_flag_of_its_rate(tmp_path, monkeypatch):
    phases = [Phase("head", 2, 1e30, backbone_layers=0), Phase("train", 2, 1e-3)]
    monkeypatch.setattr("models.training.unfreeze", lambda *_, **__: None)
    with pytest.raises(DivergedError, match=r"lower --head_learning_rate$"):
        fit(tmp_path, phases=phases, lr_schedule="constant", warmup_share=0.0)


def test_a_damaged_or_foreign_state_is_refused(tmp_path):
    fit(tmp_path, phases=PHASES[:1])
    state = (tmp_path / "resume.npz").read_bytes()
    (tmp_path / "resume.npz").write_bytes(state[: len(state) // 2])
    with pytest.raises(ModelError, match=r"resume\.npz should hold the state"):
        fit(tmp_path, phases=PHASES[:1], resume=True)
    with (tmp_path / "resume.npz").open("wb") as file:
        np.savez(file, history="[]", model_0=np.zeros(3))
    with pytest.raises(ModelError, match="of other shapes"):
        fit(tmp_path, phases=PHASES[:1], resume=True)


SMALL = ["--model", "sequential", "--image_size", "32", "--batch_size", "8"]


@pytest.fixture
def stopped_run(sample_dir, tmp_path, monkeypatch, capsys) -> Path:
    """A run on a copy of the sample pictures that Ctrl-C stopped after its second epoch."""
    from models.progress import Progress

    shutil.copytree(sample_dir, tmp_path / "data")

    def interrupt(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    argv = ["--data_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "runs")]
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_epoch_end", interrupt)
        assert train.main([*SMALL, *argv, "--epochs", "3"]) == 130
    (run,) = (tmp_path / "runs").iterdir()
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.endswith(f"to go on: python train.py --resume {run}")
    return run


def test_the_command_that_ctrl_c_prints_finishes_the_run(stopped_run, capsys):
    assert train.main(["--resume", str(stopped_run)]) == 0
    assert len((stopped_run / "history.csv").read_text().splitlines()) == 4
    assert {path.name for path in stopped_run.iterdir()} == {
        "config.json",
        "history.csv",
        "learning_curves.png",
        "model.keras",
        "split.csv",
    }
    assert train.main(["--resume", str(stopped_run)]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_a_run_whose_settings_or_pictures_changed_says_what_differs(stopped_run, capsys):
    path = stopped_run / "config.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "config": {**record["config"], "epochs": 9}}))
    assert train.main(["--resume", str(stopped_run)]) == 2
    error = capsys.readouterr().err
    assert "1 settings are not what" in error
    assert "epochs: 3 then, 9 now" in error
    path.write_text(json.dumps(record))
    (table,) = (stopped_run.parent.parent / "data").glob("*.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    assert train.main(["--resume", str(stopped_run)]) == 2
    assert "images are not what" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--epochs", "3"], ["--sample"]])
def test_resume_takes_no_other_flag(capsys, flags):
    with pytest.raises(SystemExit) as stop:
        train.main(["--resume", "runs/x", *flags])
    assert stop.value.code == 2
    assert f"leave out {flags[0]}" in capsys.readouterr().err


def test_resume_of_no_run_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path)])
    assert "should name the folder of a run" in capsys.readouterr().err


def test_the_command_to_resume_can_be_pasted_whatever_the_folder_is_called(tmp_path):
    line = train.what_is_left(tmp_path / "my runs" / "a")
    assert line.endswith(f"python train.py --resume '{tmp_path}/my runs/a'")


@pytest.mark.slow
def test_resume_goes_through_all_phases_of_mobilenet(sample_dir, tmp_path, monkeypatch, capsys):
    from models.progress import Progress

    # Head and first epoch on 32 px, two more on 64.
    preset = {"small_epochs_share": 0.4, "head_epochs": 1}
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
            patch.setattr(Progress, "on_epoch_end", interrupt)
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
def test_kill_at_any_moment_loses_nothing(sample_dir, tmp_path):
    argv = [*SMALL, "--data_dir", str(sample_dir), "--epochs", "40"]
    argv += ["--patience", "99"]
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
    settings = config.load(config.TrainConfig, run / "config.json")
    assert settings.epochs == 40


@pytest.mark.slow
def test_a_full_disk_keeps_the_model_before_and_the_run_goes_on(sample_dir, tmp_path):
    argv = [*SMALL, "--data_dir", str(sample_dir), "--epochs", "3", "--output_dir"]
    # Six steps an epoch: the save after the second one finds no room.
    done = run_killed("full 7", [*argv, str(tmp_path / "full")])
    assert done.returncode == 2
    (run,) = (tmp_path / "full").iterdir()
    *_, line = done.stderr.splitlines()
    assert re.fullmatch(
        rf"train\.py: error: .*File too large.*; the best epoch so far is {run}/model\.keras; "
        rf"to go on: python train\.py --resume {run}",
        line,
    )
    load_model(run / "model.keras")
    assert not list(run.glob("*part*"))
    assert run_killed("never", ["--resume", str(run)]).returncode == 0
    assert run_killed("never", [*argv, str(tmp_path / "whole")]).returncode == 0
    (whole,) = (tmp_path / "whole").iterdir()
    assert (run / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()
