"""Every row of the runs in docs/inputs.md."""

import contextlib
import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from input_rows import (
    assert_printed,
    each_row,
    make_image,
    raise_interrupt,
    raise_no_space,
    raise_out_of_memory,
    read_rows,
)

import train

pytestmark = pytest.mark.usefixtures("shallow_baseline", "without_notes")


def run_flags(root: Path) -> list[str]:
    flags = ["--model", "sequential", "--image_size", "32", "--batch_size", "8", "--epochs", "2"]
    return [*flags, "--data_dir", str(root / "data"), "--output_dir", str(root / "runs")]


@pytest.fixture(scope="module")
def interrupted(sample_dir, tmp_path_factory) -> tuple[Path, int, str]:
    """A run on a copy of the synthetic images that Ctrl-C stopped after its first epoch.

    Returns its folder, the exit code, and what it printed on stderr.
    """
    root = tmp_path_factory.mktemp("interrupted")
    shutil.copytree(sample_dir, root / "data")
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.setattr("keras.Model.fit", tiny.finish_an_epoch)
        patch.setattr("training.callbacks.EpochLog.on_epoch_end", raise_interrupt)
        code = train.main(run_flags(root))
    (run,) = (root / "runs").iterdir()
    return run, code, errors.getvalue()


def edit_settings(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    record["config"]["data_dir"] = "nowhere"
    (run / "config.json").write_text(json.dumps(record))


def table_of(run: Path) -> Path:
    (path,) = (run.parent.parent / "data").glob("*.csv")
    return path


def replace_image(run: Path) -> None:
    split = pd.read_csv(run / "split.csv")
    image_id = split.loc[split["split"] == "train", "image_id"].iloc[0]
    (path,) = (run.parent.parent / "data").rglob(f"{image_id}.jpg")
    make_image().save(path)


def change_label(run: Path) -> None:
    frame = pd.read_csv(table_of(run))
    frame.loc[0, "dx"] = "mel" if frame.loc[0, "dx"] != "mel" else "nv"
    frame.to_csv(table_of(run), index=False)


def reverse_table(run: Path) -> None:
    pd.read_csv(table_of(run))[::-1].to_csv(table_of(run), index=False)


def write_array(run: Path) -> None:
    with (run / "resume.npz").open("wb") as file:
        np.save(file, np.ones(3))


def truncate(run: Path, name: str) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])


# What is replaced in a new run, and what is changed before an interrupted one resumes.
REPLACED = {
    "disk full at the start": ("training.run.write_text", raise_no_space),
    "disk full while saving": ("training.callbacks.write_history", raise_no_space),
    "out of memory": ("training.callbacks.EpochLog.on_epoch_end", raise_out_of_memory),
    "out of memory while decoding": ("training.decoding.decode_images", raise_out_of_memory),
}

RESUMED = {
    "`--resume`, a setting was edited": edit_settings,
    "`--resume`, the pixels of an image changed": replace_image,
    "`--resume`, a label changed": change_label,
    "`--resume`, the order of the table changed": reverse_table,
    "`--resume`, `resume.json` is damaged": lambda run: truncate(run, "resume.json"),
    "`--resume`, `resume.npz` is damaged": lambda run: truncate(run, "resume.npz"),
    "`--resume`, `resume.npz` is empty": lambda run: (run / "resume.npz").write_bytes(b""),
    "`--resume`, `resume.npz` is an array": write_array,
    "`--resume` of a finished run": lambda run: (run / "resume.json").unlink(),
}


# With one step per epoch, the loss is that of the random weights.
DIVERGED = {
    "loss is NaN or infinite": ["--learning_rate", "1e30"],
    "validation loss is NaN or infinite": ["--learning_rate", "1e30", "--batch_size", "99"],
}


# Name of each weights file, and what writes it.
WEIGHTS = {
    "`--weights` is a text file": ("a.h5", lambda path: path.write_text("text")),
    "`--weights` of another network": (
        "a.weights.h5",
        lambda path: tiny_network(5).save_weights(path),
    ),
    "`--weights` is missing": ("a.h5", lambda path: None),
}


def tiny_network(units: int) -> keras.Model:
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(units)])


NOT_CONVERTED = "`--model efficientnet_lite` without its ImageNet weights"


def test_all_rows_of_runs_are_tested():
    new = ["output folder that is not writable", "Ctrl-C", *DIVERGED, *WEIGHTS, NOT_CONVERTED]
    new += REPLACED
    assert [title for title, _, _ in read_rows("Runs")] == [*new, *RESUMED]


@pytest.mark.parametrize(("title", "outcome", "line"), each_row("Runs"))
def test_runs(interrupted, sample_dir, tmp_path, capsys, monkeypatch, title, outcome, line):
    (tmp_path / "data").symlink_to(sample_dir)
    run, code, errors = interrupted
    if title == "Ctrl-C":
        assert outcome == f"exit {code}" == "exit 130"
        assert_printed(line, errors)
        return
    argv = run_flags(tmp_path)
    if title in RESUMED:
        # A run finds its data by their path, so both are changed in place and restored.
        root = run.parent.parent
        shutil.copytree(root, tmp_path / "copy")
        RESUMED[title](run)
        argv = ["--resume", str(run)]
    elif title in REPLACED:
        monkeypatch.setattr("keras.Model.fit", tiny.finish_an_epoch)
        monkeypatch.setattr(*REPLACED[title])
    elif title in DIVERGED:
        argv += DIVERGED[title]
    elif title in WEIGHTS:
        name, write = WEIGHTS[title]
        write(tmp_path / name)
        argv += ["--model", "mobilenet", "--weights", str(tmp_path / name)]
        monkeypatch.setattr("models.transfer._build_network", lambda *_: tiny_network(3))
        capsys.readouterr()
    elif title == NOT_CONVERTED:
        argv += ["--model", "efficientnet_lite", "--weights", "imagenet"]
        monkeypatch.setattr("models.transfer._build_network", lambda *_: tiny_network(3))
    else:
        (tmp_path / "runs").write_text("a file in place of the folder")
    code = train.main(argv)
    if title in RESUMED:
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "copy", root)
    assert code == 2
    assert outcome.startswith("exit 2")
    assert_printed(line, capsys.readouterr().err)
