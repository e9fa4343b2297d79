import dataclasses
import json
import os
from pathlib import Path

import pytest

import config
from train import parse
from training import TrainingError
from training.run import PACKAGES, Run, choose_model, data_dir_of, new_run, newest_model

IMAGES = {"a": ["train", "nv", "l1", 7], "b": ["val", "mel", "l2", 8]}


def started(tmp_path, *argv: str) -> Run:
    run = new_run(tmp_path / "runs", "mobilenet")
    run.start(parse(list(argv)), IMAGES, lambda path: path.write_text("split"))
    return run


def test_a_started_run_has_its_settings_versions_and_command(tmp_path):
    run = started(tmp_path, "--seed", "7", "--extra_data_dir", "x", "y")
    assert run.read_config() == parse(["--seed", "7", "--extra_data_dir", "x", "y"])
    record = json.loads(run.config.read_text())
    assert set(PACKAGES) < set(record["versions"])
    assert record["command"].startswith("python ")
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "split.csv", "resume.json"}
    assert run.is_started


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path):
    one, other = new_run(tmp_path, "vit"), new_run(tmp_path, "vit")
    other.folder = one.folder
    for run in (one, other):
        run.start(parse([]), IMAGES, lambda path: path.touch())
    assert other.folder.name == f"{one.folder.name}-2"


@pytest.mark.parametrize("text", ["{}", "no json", '{"config": {"color": 1}}', "[]"])
def test_damaged_settings_are_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(TrainingError, match="expected the settings of a training run"):
        Run(tmp_path).read_config()


def test_a_folder_without_settings_is_no_run(tmp_path):
    with pytest.raises(TrainingError, match=r"expected the folder of a run, found no .*config"):
        Run(tmp_path).read_config()


def test_what_changed_since_the_start_is_named(tmp_path):
    run = started(tmp_path)
    run.check_settings(dataclasses.replace(parse([]), resume=str(run.folder)))
    run.check_images(IMAGES)
    with pytest.raises(
        TrainingError, match=r"^1 setting changed .*epochs: 16 before, 9 now; restore config"
    ):
        run.check_settings(parse(["--epochs", "9"]))
    with pytest.raises(
        TrainingError, match=r"^1 image changed .*b: no longer in the train or validation split"
    ):
        run.check_images({"a": IMAGES["a"]})
    with pytest.raises(TrainingError, match=r"a: label nv before, mel now, checksum .* 7 before"):
        run.check_images({**IMAGES, "a": ["train", "mel", "l1", 9]})
    with pytest.raises(TrainingError, match="the order of the images changed"):
        run.check_images(dict(reversed(IMAGES.items())))


def test_a_finished_or_damaged_run_does_not_resume(tmp_path):
    run = started(tmp_path)
    run.origin.write_text("{")
    with pytest.raises(TrainingError, match=r"resume\.json is damaged; start a new run"):
        run.check_settings(parse([]))
    run.finish()
    with pytest.raises(TrainingError, match="is not an interrupted run; nothing to resume"):
        run.check_settings(parse([]))


def test_the_command_that_resumes_can_be_pasted_whatever_the_folder_is_called(tmp_path):
    run = Run(tmp_path / "my runs" / "a")
    assert run.describe_state() == (
        f"no epoch was finished; resume with: python train.py --resume '{tmp_path}/my runs/a'"
    )
    run.folder.mkdir(parents=True)
    run.model.touch()
    assert run.describe_state(resumable=False) == f"best epoch so far: {run.model}"


def test_the_newest_model_comes_before_the_bundled_one(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path))
    monkeypatch.setattr(config, "BUNDLED_MODEL", "bundled.keras")
    path, origin = choose_model(None)
    assert path == Path(config.__file__).parent / "bundled.keras"
    assert origin == f"bundled.keras (bundled model; no run in {tmp_path}/)"
    for age, name in enumerate(("new", "old")):
        (tmp_path / name).mkdir()
        Run(tmp_path / name).model.touch()
        os.utime(Run(tmp_path / name).model, (1000 - age, 1000 - age))
    assert newest_model(tmp_path) == Run(tmp_path / "new").model
    assert choose_model(None)[1].endswith("model.keras (newest run)")
    assert choose_model("my.keras")[1] == "my.keras"


def test_the_data_folder_of_a_model_is_that_of_its_run(tmp_path):
    run = started(tmp_path, "--data_dir", "my/data")
    assert data_dir_of(run.model) == ("my/data", run.config)
    assert data_dir_of(tmp_path / "model.keras") is None
    run.config.write_text("[]")
    with pytest.raises(TrainingError, match="expected the settings"):
        data_dir_of(run.model)
