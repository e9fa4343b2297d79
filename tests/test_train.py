"""`train.py` from end to end, as a user types it."""

import json
import os
import re
import shutil
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from script_runs import SMALL, as_challenge, day_of

import config
import evaluate
import predict
import train
from data.fingerprints import unpack_hashes
from data.ham10000 import MALIGNANT
from data.images import load_image
from data.sample import write_sample_dataset
from models import weights
from models.bundle import get_description, load_model
from models.classifier import load_classifier
from training.run import Run

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")


def test_a_run_folder_holds_settings_split_history_and_model(run_dir, sample_dir):
    files = {"config.json", "split.csv", "history.csv", "learning_curves.png", "model.keras"}
    assert {path.name for path in run_dir.iterdir()} >= files
    split = pd.read_csv(run_dir / "split.csv")
    assert list(split) == ["image_id", "lesion_id", "label", "split"]
    assert split["split"].value_counts().sum() == 70
    assert split.groupby("lesion_id")["split"].nunique().max() == 1
    settings = json.loads((run_dir / "config.json").read_text())["config"]
    assert (settings["data_dir"], settings["image_size"]) == (str(sample_dir), 32)
    assert len(pd.read_csv(run_dir / "history.csv")) == 2


def test_a_model_file_holds_what_it_was_trained_on(run_dir):
    description = get_description(load_model(run_dir / "model.keras"))
    assert (description.malignant, description.data_name) == (MALIGNANT, "sample")
    assert (description.date, description.synthetic) == (day_of(run_dir), True)
    split = pd.read_csv(run_dir / "split.csv")
    count = ((split["split"] == "val") & (split["label"] == "mel")).sum()
    assert description.melanomas["split"] == "validation"
    assert description.melanomas["count"] == count > 0
    assert len(unpack_hashes(description.train_pixel_hashes)) == 42
    assert len(unpack_hashes(description.validation_pixel_hashes)) == 14


def test_train_prints_its_result_and_the_next_two_commands(run_dir):
    out = (run_dir / "output.txt").read_text()
    assert "Split: 42 train / 14 validation / 14 test images, no lesion in two splits." in out
    assert re.search(
        r"^Best epoch: [12] of 2 \(lowest validation loss\)\. Training took", out, re.M
    )
    commands = [line.split()[1:] for line in out.splitlines() if line.startswith("  python ")]
    assert [command[0] for command in commands] == ["evaluate.py", "predict.py"]
    assert evaluate.main(commands[0][1:]) == 0
    assert predict.main(commands[1][1:]) == 0


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_history(sample_dir, tmp_path, run_dir):
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (again,) = tmp_path.glob("sequential-*")
    for name in ("split.csv", "history.csv"):
        assert (again / name).read_bytes() == (run_dir / name).read_bytes()


@pytest.mark.slow
def test_images_stored_in_a_file_give_the_same_history(
    sample_dir, tmp_path, run_dir, monkeypatch, capsys
):
    preset = config.PRESETS["sequential"] | {"image_store": "file"}
    monkeypatch.setitem(config.PRESETS, "sequential", preset)
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (again,) = tmp_path.glob("sequential-*")
    assert (again / "history.csv").read_bytes() == (run_dir / "history.csv").read_bytes()
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert str(tmp_path / "cache") in capsys.readouterr().out


def test_training_fits_a_temperature_to_the_validation_images(run_dir, evaluations):
    assert get_description(load_model(run_dir / "model.keras")).temperature != 1.0
    calibration = json.loads((evaluations["val"] / "metrics.json").read_text())["calibration"]
    before, after = calibration["before"], calibration["after"]
    assert after["negative_log_likelihood"] < before["negative_log_likelihood"]


def test_training_fits_the_warnings_of_the_model(run_dir, sample_dir, tmp_path, capsys):
    classifier = load_classifier(run_dir / "model.keras")
    assert classifier.description.threshold_accuracy == train.parse([]).threshold_accuracy
    assert 0 < classifier.description.confidence_threshold <= 1
    split = pd.read_csv(run_dir / "split.csv")
    validation = set(split.loc[split["split"] == "val", "image_id"])
    paths = [str(path) for path in sample_dir.rglob("*.jpg") if path.stem in validation]
    predictions = classifier(np.stack([load_image(path, 32) for path in paths]))
    assert predictions.out_of_distribution.mean() <= 0.1
    # A sentence under the bars of an image, a word in the lines of a folder.
    least_confident = paths[int(predictions.confidence.argmin())]
    argv = ["--model_path", str(run_dir / "model.keras"), "--image"]
    assert predict.main([*argv, least_confident]) == 0
    assert "  warning: Low confidence (" in capsys.readouterr().out
    for name in ("a.jpg", "b.jpg"):  # a folder with one image is shown with bars
        shutil.copy(least_confident, tmp_path / name)
    assert predict.main([*argv, str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ".jpg" in line]
    assert len(lines) == 2
    assert all(line.endswith("   uncertain") for line in lines)


@pytest.mark.slow
def test_extra_data_join_the_training_without_images_of_the_other_splits(
    sample_dir, tmp_path, capsys
):
    extra = tmp_path / "more" / "ISIC"
    as_challenge(sample_dir, extra)
    # Ten new images under new ids.
    generated = tmp_path / "new"
    write_sample_dataset(generated, images_per_class=10, seed=5)
    new = tmp_path / "classes" / "melanoma"
    new.mkdir(parents=True)
    for i, path in enumerate(sorted(generated.glob("*/*.jpg"))[:10]):
        os.link(path, new / f"other-{i}.jpg")
    # An image of the test split under another name.
    argv = ["--model", "sequential", *SMALL, "--epochs", "1", "--data_dir", str(sample_dir)]
    assert train.main([*argv, "--output_dir", str(tmp_path / "plain")]) == 0
    (plain,) = (tmp_path / "plain").iterdir()
    split = pd.read_csv(plain / "split.csv")
    hidden = split.loc[split["split"] == "test", "image_id"].iloc[0]
    os.link(next(sample_dir.glob(f"*/{hidden}.jpg")), new / "renamed.jpg")
    capsys.readouterr()
    argv += ["--extra_data_dir", str(extra), str(new.parent), "--allow_missing"]
    assert train.main([*argv, "--output_dir", str(tmp_path / "more-runs")]) == 1
    out = capsys.readouterr().out
    held = (split["split"] != "train").sum()
    assert f"{held} by image or lesion id, 0 by pixels" in out
    assert f"since they are in the train split already: {70 - held}" in out
    assert "added: 10 of 11 images, 8 to the train and 2 to the validation split" in out
    assert "Training images (drawn in an epoch): classes 8 (" in out
    assert "0 by image or lesion id, 1 by pixels" in out
    (run,) = (tmp_path / "more-runs").iterdir()
    more = pd.read_csv(run / "split.csv")
    assert more[: len(split)].equals(split)
    assert more["split"][len(split) :].value_counts().to_dict() == {"train": 8, "val": 2}
    description = get_description(load_model(run / "model.keras"))
    assert {f"other-{i}" for i in range(10)} <= {
        *description.train_image_ids,
        *description.validation_image_ids,
    }
    assert description.sources == {sample_dir.name: (split["split"] == "train").sum(), "classes": 8}


def test_many_missing_images_stop_a_training_unless_allowed(
    sample_dir, tmp_path, capsys, monkeypatch
):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    sorted(data.glob("*/*.jpg"))[0].unlink()
    argv = ["--model", "sequential", *SMALL, "--epochs", "1", "--data_dir", str(data)]
    argv += ["--output_dir", str(tmp_path / "runs")]
    monkeypatch.setattr("keras.Model.fit", tiny.finish_an_epoch)
    assert train.main(argv) == 2
    assert "99 % of the labels, but 1 of 70 labels: no image file" in capsys.readouterr().err
    assert train.main([*argv, "--allow_missing"]) == 1
    assert "skipped 1 of 70 labels" in capsys.readouterr().err


def test_train_prints_the_name_of_an_image_without_escape_sequences(tmp_path, capsys):
    run = Run(tmp_path)
    run.model.touch()
    best = {"val_accuracy": 0.5, "val_balanced_accuracy": 0.5}
    outcome = types.SimpleNamespace(
        result=types.SimpleNamespace(best=best, best_epoch=1, history=[best], stopped_early=False),
        frame=pd.DataFrame({"split": ["test"], "path": ["a\x1b[31m.png"]}),
        seconds=1.0,
        temperature=1.0,
    )
    train.print_outcome(outcome, train.parse([]), run)
    assert capsys.readouterr().out.endswith("--image 'a?[31m.png'\n")


def test_training_skips_broken_and_missing_images(sample_dir, tmp_path, capsys, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    images = sorted(data.glob("*/*.jpg"))
    # Headers of test images are read, too; their pixels are not decoded.
    for image in images[:12]:
        image.write_bytes(b"broken")
    for image in images[12:24]:
        image.write_bytes(image.read_bytes()[:-500])
    argv = ["--model", "sequential", "--data_dir", str(data), "--output_dir", str(tmp_path / "r")]
    monkeypatch.setattr("keras.Model.fit", tiny.finish_an_epoch)
    assert train.main([*argv, *SMALL, "--epochs", "1"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("skipped ") - errors.count("truncated") == 12
    (run,) = (tmp_path / "r").iterdir()
    kept = pd.read_csv(run / "split.csv")
    cut = sum(kept["image_id"].isin([image.stem for image in images[12:24]]))
    assert errors.count("image file is truncated") == 12 - cut
    assert cut < 12
    assert not set(kept["image_id"]) & {image.stem for image in images[:12]}
    for image in images:
        image.write_bytes(b"broken")
    assert train.main([*argv, *SMALL]) == 2
    assert "expected readable images in the train split" in capsys.readouterr().err.splitlines()[-1]
    images[0].unlink()
    assert train.main([*argv, *SMALL]) == 2
    err = capsys.readouterr().err
    assert "unpack all image archives" in err
    assert err.count("\n") == 1


def test_missing_imagenet_weights_stop_a_training(sample_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "_is_reachable", lambda site: False)
    argv = ["--model", "mobilenet", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL]) == 2
    err = capsys.readouterr().err
    assert err.startswith("train.py: error: --weights: the ImageNet weights are not in ")
    assert err.endswith("(--weights PATH, or --weights none)\n")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sample_run_starts_from_random_weights_with_and_without_network(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(weights, "_is_reachable", lambda site: False)
    monkeypatch.chdir(tmp_path)
    sample = config.PRESETS["sample"] | {"data_dir": "s", "sample_images_per_class": 6}
    monkeypatch.setitem(config.PRESETS, "sample", sample)
    argv = ["--model", "mobilenet", "--sample", *SMALL, "--epochs", "1"]
    assert train.main(argv) == 0
    (run,) = Path("runs").glob("mobilenet-*")
    settings = json.loads((run / "config.json").read_text())["config"]
    assert (settings["weights"], settings["head_epochs"]) == ("none", 0)
    assert (settings["train_batch_norm"], settings["batch_norm_momentum"]) == (True, 0.9)
    assert pd.read_csv(run / "history.csv")["phase"].tolist() == ["fine-tune"]
    # With weights at hand, the same command gives the same model: it never asks for them.
    history = (run / "history.csv").read_bytes()
    shutil.rmtree("runs")
    with monkeypatch.context() as patch:
        patch.setattr("models.transfer.fetch_weights", lambda *_: 1 / 0)
        assert train.main(argv) == 0
    (run,) = Path("runs").glob("mobilenet-*")
    assert (run / "history.csv").read_bytes() == history
    # Weights that are asked for by name are never replaced.
    assert train.main([*argv, "--weights", "imagenet"]) == 2


@pytest.mark.slow
def test_both_phases_of_mobilenet_are_repeatable(sample_dir, tmp_path):
    histories = []
    for name in ("one", "two"):
        argv = ["--data_dir", str(sample_dir), "--output_dir", str(tmp_path / name), *SMALL]
        argv += ["--weights", "none", "--head_epochs", "1", "--epochs", "2"]
        assert train.main([*argv, "--fine_tune_layers", "60", "--seed", "3"]) == 0
        (run,) = (tmp_path / name).iterdir()
        histories.append((run / "history.csv").read_bytes())
    assert histories[0] == histories[1]
    assert b"head" in histories[0]
