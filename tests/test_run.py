import dataclasses
import json
import os
import zipfile
from pathlib import Path

import pytest

import config
from train import parse
from training import TrainingError
from training.run import (
    PACKAGES,
    Run,
    choose_data_dir,
    choose_models,
    find_model,
    new_run,
    newest_models,
)

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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "16"),
        ("epochs", 1.5),
        ("epochs", True),
        ("seed", 10**400),
        ("learning_rate", 10**400),
        ("learning_rate", float("inf")),
        ("learning_rate", [0.1]),
        ("model", ["mobilenet"]),
        ("model", None),
        ("flip", 1),
        ("view", [0.7]),
        ("view", [0.7, "1"]),
        ("data_dir", 7),
        ("data_dir", "a\0b"),
        ("data_dir", "\ud800"),
        ("extra_data_dir", "x"),
        ("extra_data_dir", [["x"]]),
    ],
)
def test_a_setting_of_another_type_is_refused(tmp_path, name, value):
    run = started(tmp_path)
    record = json.loads(run.config.read_text())
    record["config"][name] = value
    run.config.write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=rf"received --{name} should be .*, received "):
        run.read_config()


@pytest.mark.parametrize("name", ["config.json", "resume.json"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]," * 12_000_000,
        "9" * 5000,
        "7",
        "null",
        '{"config": [7], "settings": {}, "images": {"a": [1]}}',
        '{"config": 7, "settings": {}, "images": {"a": 7}}',
        '{"config": null, "settings": [1], "images": [1]}',
        '{"config": {"data_dir": {}}, "settings": 7, "images": {}}',
    ],
    ids=range(9),
)
def test_settings_of_another_shape_are_one_line(tmp_path, name, text):
    run = started(tmp_path)
    (run.folder / name).write_text(text)
    if name == "config.json":
        for read in (run.read_config, lambda: choose_data_dir(None, run.model)):
            with pytest.raises(TrainingError, match="expected the settings of a training run"):
                read()
    else:
        with pytest.raises(TrainingError, match=r"resume\.json is damaged; start a new run"):
            run.check_images(IMAGES)


def test_a_data_folder_with_escape_sequences_is_not_printed(tmp_path):
    run = started(tmp_path)
    run.config.write_text(json.dumps({"config": {"data_dir": "a\x1b[31m"}}))
    with pytest.raises(TrainingError, match=r"received 'a\\x1b\[31m' as data_dir; give the folder"):
        choose_data_dir(None, run.model)


def test_a_run_folder_with_escape_sequences_is_named_without_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs"), "a\x1b[31m", lesion_id="HAM_0000001", age=0)
    assert choose_models(())[1] == "runs/a?[31m/model.keras (newest run)"


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


def test_a_run_whose_checkpoint_cannot_be_removed_is_finished(tmp_path):
    run = started(tmp_path)
    run.checkpoint.mkdir()  # as a file that another program has open
    with pytest.raises(OSError, match=r"resume\.npz"):
        run.finish()
    assert not run.is_started


def test_a_reader_that_closes_the_pipe_is_no_error_of_the_run(tmp_path):
    with pytest.raises(BrokenPipeError), Run(tmp_path).explaining_interruption():
        raise BrokenPipeError


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
