"""Which model and data a command uses."""

import json
import os
import zipfile
from pathlib import Path

import pytest

import config
from train import parse
from training import TrainingError
from training.model_paths import choose_data_dir, choose_models, find_model, newest_models
from training.run import Run, new_run


def started(tmp_path, *argv: str) -> Run:
    run = new_run(tmp_path / "runs", "mobilenet")
    run.start(parse(list(argv)), {}, lambda path: path.write_text("split"))
    return run


def test_the_newest_model_comes_before_the_bundled_one(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path))
    monkeypatch.setattr(config, "BUNDLED_MODEL", "bundled.keras")
    (path,), origin = choose_models(())
    assert path == Path(config.__file__).parent / "bundled.keras"
    assert origin == f"bundled.keras (bundled model; no run in {tmp_path}/)"
    for age, name in enumerate(("new", "old")):
        (tmp_path / name).mkdir()
        Run(tmp_path / name).model.touch()
        os.utime(Run(tmp_path / name).model, (1000 - age, 1000 - age))
    assert newest_models(tmp_path) == [Run(tmp_path / name).model for name in ("new", "old")]
    assert choose_models(())[1].endswith("model.keras (newest run)")
    assert choose_models(["my.keras"])[1] == "my.keras"


def write_run(runs: Path, name: str, *, lesion_id: str, age: int, number: int = 4) -> Path:
    """Write a run whose model has a description and nothing else; an older format says less."""
    description = {"model": "m", "class_names": ["mel", "nv"], "image_size": 32}
    description |= {"format": number, "train_lesion_ids": [lesion_id]}
    if number == 4:
        description["synthetic"] = lesion_id.startswith("HAM_9")
    layers = [{"config": {"description": description}}]
    run = Run(runs / name)
    run.folder.mkdir(parents=True)
    with zipfile.ZipFile(run.model, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    os.utime(run.model, (1000 - age, 1000 - age))
    return run.model


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_model_of_synthetic_images_is_never_a_default(tmp_path, monkeypatch, number):
    runs = tmp_path / "runs"
    monkeypatch.setattr(config, "RUNS_DIR", str(runs))
    write_run(runs, "sample", lesion_id="HAM_9000001", age=0, number=number)
    (path,), origin = choose_models(())
    assert path == Path(config.__file__).parent / config.BUNDLED_MODEL
    assert origin == (
        f"{config.BUNDLED_MODEL} (bundled model; 1 run in {runs}/ is trained on synthetic images: "
        "choose it with --model_path)"
    )
    real = write_run(runs, "real", lesion_id="HAM_0000001", age=5, number=number)
    write_run(runs, "sample-2", lesion_id="HAM_9000001", age=3, number=number)
    (path,), origin = choose_models(())
    assert path == real
    assert origin == (
        f"{real} (newest run; 2 newer runs in {runs}/ are trained on synthetic images: choose one "
        "with --model_path)"
    )
    write_run(runs, "newest", lesion_id="HAM_0000002", age=-1, number=number)
    assert choose_models(())[1] == f"{runs}/newest/model.keras (newest run)"


def test_a_damaged_newest_model_is_not_replaced_by_an_older_one(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path))
    write_run(tmp_path, "good", lesion_id="HAM_0000001", age=1)
    damaged = write_run(tmp_path, "damaged", lesion_id="HAM_0000001", age=0)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert choose_models(())[0] == [damaged]


def test_the_folder_of_a_run_stands_for_its_model(tmp_path):
    model = write_run(tmp_path, "one", lesion_id="HAM_9000001", age=0)
    assert find_model(tmp_path / "one") == model
    assert choose_models([f"{tmp_path}/one/"]) == ([model], str(model))
    assert find_model(model) == model
    assert find_model("missing.keras") == Path("missing.keras")


def test_a_folder_without_a_model_is_refused_with_what_is_in_it(tmp_path):
    runs = tmp_path / "runs"
    expected = "expected model.keras in the folder, found"
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=rf"empty: {expected} an empty folder; choose a model"):
        find_model(tmp_path / "empty")
    model = write_run(runs, "one", lesion_id="HAM_9000001", age=0)
    with pytest.raises(TrainingError, match=rf"runs: {expected} 1 run in it, .*/one; choose it"):
        find_model(runs)
    started(tmp_path).model.parent.rename(tmp_path / "begun")
    with pytest.raises(TrainingError, match=rf"{expected} an interrupted run: no epoch was finish"):
        find_model(tmp_path / "begun")
    model.rename(model.with_name("other.keras"))
    for number in range(6):
        (model.parent / f"file-{number}").touch()
    with pytest.raises(
        TrainingError, match=r"^--model_path: .*, found file-0, .*file-4, 2 more; choose a model"
    ):
        choose_models([str(model.parent)])


def test_the_data_folder_of_a_model_is_that_of_its_run(tmp_path):
    run = started(tmp_path, "--data_dir", "my/data")
    assert choose_data_dir(None, run.model) == ("my/data", f"from {run.config}")
    assert choose_data_dir("other", run.model) == ("other", "from --data_dir")
    assert choose_data_dir(None, tmp_path / "model.keras")[0] == config.DATA_DIR
    run.config.write_text("[]")
    with pytest.raises(TrainingError, match="expected the settings"):
        choose_data_dir(None, run.model)


def test_a_data_folder_with_escape_sequences_is_not_printed(tmp_path):
    run = started(tmp_path)
    run.config.write_text(json.dumps({"config": {"data_dir": "a\x1b[31m"}}))
    with pytest.raises(TrainingError, match=r"received 'a\\x1b\[31m' as data_dir; give the folder"):
        choose_data_dir(None, run.model)


def test_a_run_folder_with_escape_sequences_is_named_without_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), "a\x1b[31m", lesion_id="HAM_0000001", age=0)
    assert choose_models(())[1] == "runs/a?[31m/model.keras (newest run)"
