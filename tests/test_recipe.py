import dataclasses
import shlex

import numpy as np
import pandas as pd
import pytest
from tiny import CLASSES, tiny_images

from data.classes import HAM10000, ClassScheme
from data.targets import class_fractions, class_weights
from models import WeightsUnavailableError
from models.bundle import get_description, save_model
from models.factory import build_model
from train import parse, print_outcome
from training import DivergedError
from training.calibration import calibrate, count_melanomas
from training.dataset import LabeledImages
from training.early_stopping import EarlyStopping
from training.loop import Result
from training.recipe import Outcome, augmentation_settings, build, fit, name_data
from training.run import Run
from training.schedules import OptimizerSettings

pytestmark = pytest.mark.usefixtures("shallow_baseline")

SMALL = ["--image_size", "32", "--fine_tune_layers", "3"]


@pytest.fixture
def no_weights(monkeypatch):
    """Make the ImageNet weights unavailable."""

    def fetch(url, file_name, *, commands=None):
        raise WeightsUnavailableError("no network")

    monkeypatch.setattr("models.transfer.fetch_weights", fetch)


def test_a_run_with_a_checkpoint_is_built_without_imagenet_weights(tmp_path, no_weights):
    settings, run = parse(SMALL), Run(tmp_path)
    with pytest.raises(WeightsUnavailableError, match=r"^--weights: no network \(--weights PATH"):
        build(settings, run, HAM10000)
    # The weights of the checkpoint replace any others.
    run.checkpoint.touch()
    model, device = build(settings, run, HAM10000)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 7)
    assert device


def test_a_model_has_the_classes_of_the_training(tmp_path):
    settings = parse(["--model", "sequential", "--image_size", "32"])
    model, _ = build(settings, Run(tmp_path), ClassScheme(("wart", "corn", "scar")))
    assert get_description(model).class_names == ("wart", "corn", "scar")
    assert model.output_shape == (None, 3)


def test_too_many_layers_are_reported_before_the_training(tmp_path):
    settings = parse(["--weights", "none", "--image_size", "32", "--fine_tune_layers", "999"])
    with pytest.raises(ValueError, match=r"^--fine_tune_layers: expected 0 to \d+ .*received 999"):
        build(settings, Run(tmp_path), HAM10000)


def test_every_setting_of_the_augmentation_comes_from_the_recipe():
    settings = parse([])
    augmentation = augmentation_settings(settings)
    for name, value in vars(augmentation).items():
        assert value == getattr(settings, name)


def test_the_settings_of_the_recipe_reach_the_training(tmp_path, monkeypatch):
    given = {"logit_adjustment": 0.5, "label_smoothing": 0.07, "weight_decay": 3e-4}
    given |= {"average_epochs": 0.4, "warmup_fraction": 0.3, "monitor": "balanced_accuracy"}
    settings = dataclasses.replace(parse(["--model", "sequential", *SMALL[:2]]), **given)
    labels = pd.Series(["nv"] * 12 + ["mel"] * 4 + ["bcc"] * 2)
    rows = {"label": labels, "split": ["train"] * 18, "data_set": ["a"] * 18}
    names = [f"i{i}" for i in range(18)]
    frame = pd.DataFrame({**rows, "image_id": names, "lesion_id": names, "pixel_hash": None})
    frame["source"] = frame["data_set"]
    frame = pd.concat([frame, frame.assign(split="val", image_id="v", lesion_id="v")[:1]])
    pixels = {name: {32: np.zeros((1, 32, 32, 3), np.uint8)} for name in ("train", "val")}
    seen = {}
    monkeypatch.setattr(
        "training.recipe.train_model",
        lambda model, data, **options: seen.update(options, data=data),
    )
    model, _ = build(settings, Run(tmp_path), HAM10000)
    fit(model, LabeledImages(frame, 0), pixels, settings, Run(tmp_path))
    weights = class_weights(labels, "sqrt", HAM10000.names)
    data, loss = seen["data"], seen["loss"]
    assert data.train_weights == pytest.approx(labels.map(weights).to_numpy())
    assert data.train_weights[0] < data.train_weights[-1]
    assert data.train_targets.argmax(axis=1).tolist() == [5] * 12 + [4] * 4 + [1] * 2
    assert (data.batch_size, data.seed, data.draws) == (32, 0, None)
    assert loss.offsets == pytest.approx(0.5 * np.log(class_fractions(labels, HAM10000.names)))
    assert loss.label_smoothing == 0.07
    assert seen["optimizer"] == OptimizerSettings(
        schedule="cosine", warmup_fraction=0.3, weight_decay=3e-4, average_epochs=0.4
    )
    assert seen["early_stopping"] == EarlyStopping("balanced_accuracy", settings.patience)


def test_data_are_named_by_their_folders_without_paths(tmp_path, monkeypatch):
    (tmp_path / "ham\x07").mkdir()
    (tmp_path / "ham\x07" / "labels.csv").touch()
    argv = ["--data_dir", f"{tmp_path}/HAM10000/", "--extra_data_dir"]
    assert name_data(parse([*argv, f"{tmp_path}/a/msk", "../pad"])) == "HAM10000 + msk + pad"
    # A table is in the folder that its data are called after.
    assert name_data(parse(["--data_dir", str(tmp_path / "ham\x07" / "labels.csv")])) == "ham?"
    assert len(name_data(parse(["--data_dir", "x" * 150, "--extra_data_dir", "y" * 150]))) == 200
    # The data of the model that the training starts from come first, and none twice.
    settings = parse([*argv, f"{tmp_path}/a/msk", "../pad"])
    assert name_data(settings, ["HAM10000 + own"]) == "HAM10000 + own + msk + pad"
    monkeypatch.chdir(tmp_path / "ham\x07")
    assert name_data(parse(["--data_dir", "."])) == "ham?"


def test_missed_melanomas_are_those_predicted_as_another_class():
    y_true, class_names = np.array([1, 1, 1, 0]), ("nv", "mel")
    y_prob = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [0.3, 0.7]])
    found = count_melanomas(y_true, y_prob, class_names)
    assert found == {"split": "validation", "count": 3, "missed": 2}
    assert count_melanomas(np.zeros(4, int), y_prob, class_names) is None
    assert count_melanomas(y_true, y_prob, ("nv", "bcc")) is None
    assert count_melanomas(y_true, y_prob, ("Nevus", "Melanoma")) == found
    # Neither class is melanoma alone.
    assert count_melanomas(y_true, y_prob, ("benign", "malignant")) is None


@pytest.mark.parametrize("name", ["y_prob", "features"])
def test_predictions_of_nan_are_refused_before_they_are_calibrated(tmp_path, monkeypatch, name):
    images, targets = tiny_images(32)
    path = tmp_path / "model.keras"
    save_model(build_model("sequential", image_size=32, class_names=CLASSES), path)
    outputs = {"y_prob": np.full((8, 2), 0.5), "features": np.ones((8, 4))}
    outputs[name][3] = np.nan
    monkeypatch.setattr(
        "training.calibration.Classifier.predict_with_features", lambda *_: outputs.values()
    )
    settings = parse(["--model", "sequential", "--batch_size", "8"])
    with pytest.raises(DivergedError, match="finite predictions of the best epoch, received NaN"):
        calibrate(
            *(path, {32: images}, {32: images}, targets.argmax(axis=1)),
            *(["clinic"] * 8, range(8), settings),
        )


def print_next(split: str, capsys, tmp_path) -> str:
    run = Run(tmp_path / "my run")
    run.folder.mkdir()
    run.model.touch()
    row = {"val_accuracy": 0.5, "val_balanced_accuracy": 0.5}
    frame = pd.DataFrame({"path": ["a/ISIC_1 (1).jpg"], "split": [split]})
    result = Result([row], best_epoch=1, stopped_early=False)
    print_outcome(Outcome(result, frame, 0, 1.0, 2.0), parse([]), run)
    return capsys.readouterr().out.split("Next:\n")[1]


def test_the_next_commands_are_quoted_for_the_shell(tmp_path, capsys):
    printed = print_next("test", capsys, tmp_path)
    commands = [shlex.split(line) for line in printed.splitlines()]
    model = str(tmp_path / "my run/model.keras")
    assert commands[0] == ["python", "evaluate.py", "--model_path", model]
    assert commands[1][2:] == ["--model_path", model, "--image", "a/ISIC_1 (1).jpg"]


def test_without_test_images_the_next_command_is_not_to_evaluate_them(tmp_path, capsys):
    first, second = print_next("train", capsys, tmp_path).splitlines()
    assert first == "  no test images; evaluate.py needs another data set, with --data_dir"
    assert second.startswith("  python predict.py ")
