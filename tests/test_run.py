import dataclasses
import json

import pytest

from train import parse
from training import TrainingError
from training.model_paths import choose_data_dir
from training.run import PACKAGES, Run, new_run

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
