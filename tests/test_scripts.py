"""The three scripts from end to end, as a user types them."""

import contextlib
import datetime
import io
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

import config
import evaluate
import predict
import train
from app import card
from data.fingerprints import unpack_hashes
from data.ham10000 import MALIGNANT
from data.images import load_image
from data.sample import write_sample_dataset
from models import weights
from models.bundle import get_description, load_model, save_model, update_description
from models.classifier import load_classifier
from models.description import SYNTHETIC_WARNING
from models.tflite_conversion import convert_to_tflite
from training.run import Run

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")
ROOT = Path(__file__).parent.parent
SMALL = ["--image_size", "32", "--batch_size", "8"]


@pytest.fixture(scope="module")
def run_dir(sample_dir, tmp_path_factory) -> Path:
    """A run of the sequential baseline on the synthetic images, trained once."""
    runs = tmp_path_factory.mktemp("runs")
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(runs)]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (found,) = runs.glob("sequential-*")
    (found / "output.txt").write_text(out.getvalue())
    return found


def day_of(run_dir: Path) -> str:
    """Return the day on which a training ended; tests may go on past midnight."""
    written = (run_dir / "history.csv").stat().st_mtime
    return str(datetime.date.fromtimestamp(written))


def run_evaluation(folder: Path, *argv: str) -> Path:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert evaluate.main([*argv]) == 0
    (folder / "output.txt").write_text(out.getvalue())
    return folder


@pytest.fixture(scope="module")
def evaluation(run_dir) -> Path:
    """The evaluation of the test split, beside the model."""
    model = str(run_dir / "model.keras")
    return run_evaluation(run_dir / "evaluation-test", "--model_path", model)


@pytest.fixture(scope="module")
def evaluations(run_dir, tmp_path_factory) -> dict[str, Path]:
    """The evaluations of the other splits, elsewhere."""
    found = {}
    for split in ("val", "all"):
        folder = tmp_path_factory.mktemp(split)
        argv = ["--model_path", str(run_dir / "model.keras"), "--split", split]
        argv += ["--columns", "isic2018"]
        found[split] = run_evaluation(folder, *argv, "--output_dir", str(folder))
    return found


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


def test_evaluating_the_validation_split_repeats_its_metrics(run_dir, evaluations):
    metrics = json.loads((evaluations["val"] / "metrics.json").read_text())
    history = pd.read_csv(run_dir / "history.csv")
    best = history.loc[history["val_loss"].idxmin()]
    assert metrics["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert metrics["balanced_accuracy"] == pytest.approx(best["val_balanced_accuracy"], abs=1e-6)
    assert "config.json" in (evaluations["val"] / "output.txt").read_text()


def test_evaluate_uses_the_test_split_and_writes_beside_the_model(run_dir, evaluation):
    out = evaluation
    split = pd.read_csv(run_dir / "split.csv")
    predictions = pd.read_csv(out / "predictions.csv")
    assert set(predictions["image"]) == set(split.loc[split["split"] == "test", "image_id"])
    assert list(predictions)[:3] == ["image", "predicted", "confidence"]
    assert list(predictions)[3:5] == ["uncertain", "out_of_distribution"]
    assert list(predictions)[5:7] == ["prediction_set", "prob_akiec"]
    plots = {"confusion_matrix.png", "roc.png", "reliability.png"}
    assert plots <= {path.name for path in out.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"} <= set(metrics)
    assert metrics["per_class"]["mel"]["support"] > 0
    assert "balanced accuracy" in (out / "output.txt").read_text()


def test_metrics_have_intervals_calibration_and_subgroups(run_dir, evaluation):
    metrics = json.loads((evaluation / "metrics.json").read_text())
    for name in ("accuracy", "macro_f1", "macro_roc_auc"):
        low, high = metrics["intervals"][name]
        assert low <= metrics[name] <= high
    # Most resamples of two lesions per class lack a class.
    assert metrics["intervals"]["balanced_accuracy"] is None
    for task in ("malignant", "melanoma"):
        assert set(metrics[task]["sensitivity_at_specificity"]) == {"0.80", "0.90", "0.95"}
        assert 0 <= metrics[task]["roc_auc"] <= 1
    keys = {"expected_calibration_error", "brier_score", "negative_log_likelihood"}
    calibration = metrics["calibration"]
    assert set(calibration["before"]) == set(calibration["after"]) == keys
    assert (
        calibration["temperature"]
        == get_description(load_model(run_dir / "model.keras")).temperature
    )
    assert set(metrics["subgroups"]) == {"sex", "age", "localization", "dx_type"}
    assert metrics["sources"] == {}
    assert metrics["grouping"] == "lesions"
    assert "(95 % CI: bootstrap over lesions)\n" in (evaluation / "output.txt").read_text()
    assert metrics["pointing_game"] is None
    # 14 validation images are too few to fix anything.
    assert metrics["operating_points"] == metrics["prediction_sets"] == {}
    assert pd.read_csv(evaluation / "predictions.csv")["prediction_set"].isna().all()


def test_evaluate_compares_with_the_predictions_of_another_evaluation(
    run_dir, evaluation, tmp_path, capsys
):
    argv = ["--model_path", str(run_dir / "model.keras"), "--output_dir", str(tmp_path / "out")]
    assert evaluate.main([*argv, "--compare", str(evaluation / "predictions.csv")]) == 0
    assert f"{pd.read_csv(evaluation / 'predictions.csv').shape[0]} images of both\n" in (
        capsys.readouterr().out
    )
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["comparison"]
    # The table is rounded to six decimals.
    assert found["metrics"]["accuracy"]["difference"] == 0
    assert found["mcnemar"]["p_value"] == 1
    assert "<h2>Comparison</h2>" in (tmp_path / "out" / "report.html").read_text()
    assert evaluate.main([*argv, "--compare", str(tmp_path / "none.csv")]) == 2
    assert "--compare: " in capsys.readouterr().err


def test_a_card_is_written_from_an_evaluation(run_dir, evaluation, tmp_path, capsys):
    argv = ["--model_path", str(run_dir), "--output", str(tmp_path / "card.md")]
    assert card.main(argv) == 0
    text = (tmp_path / "card.md").read_text()
    assert SYNTHETIC_WARNING in text
    split = pd.read_csv(run_dir / "split.csv")
    count = ((split["split"] == "train") & (split["label"] == "mel")).sum()
    assert f"| melanoma (mel) | {count} |" in text
    assert str(tmp_path) not in text
    capsys.readouterr()
    assert card.main([*argv, "--evaluation", str(tmp_path)]) == 2
    assert "found no" in capsys.readouterr().err
    metrics = json.loads((evaluation / "metrics.json").read_text())
    # A model that was trained again, or another one of the same classes.
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"model_checksums": ["0" * 64]}))
    assert card.main([*argv, "--evaluation", str(tmp_path)]) == 2
    assert "received those of another model, or of an earlier" in capsys.readouterr().err
    del metrics["facts"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert card.main([*argv, "--evaluation", str(tmp_path)]) == 2
    assert "metrics of an older version; evaluate the model again" in capsys.readouterr().err


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


def test_a_model_file_without_thresholds_works_and_names_what_it_lacks(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    missing = ("confidence_threshold", "threshold_accuracy", "detector", "photograph_threshold")
    update_description(model, **dict.fromkeys(missing))
    save_model(model, tmp_path / "model.keras")
    image = str(next(sample_dir.rglob("*.jpg")))
    assert predict.main(["--model_path", str(tmp_path / "model.keras"), "--image", image]) == 0
    out, err = capsys.readouterr()
    assert out.count("warning: ") == 1  # of the synthetic images
    assert "cannot warn about low confidence or images that do not look like" in err


def test_undefined_metrics_are_null_and_the_report_is_written(run_dir, write_ham10000, tmp_path):
    strange = write_ham10000({"ISIC_0000001": "nv", "ISIC_0000002": "nv"})
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(strange)]
    assert evaluate.main([*argv, "--split", "all", "--output_dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["macro_roc_auc"] is None
    assert metrics["intervals"]["macro_roc_auc"] is None
    assert metrics["melanoma"]["roc_auc"] is None
    assert metrics["malignant"]["sensitivity_at_specificity"]["0.90"] is None
    assert metrics["subgroups"]["sex"]["male"]["malignant_sensitivity"] is None
    assert (tmp_path / "out" / "report.html").is_file()


def test_sources_are_measured_apart_and_known_by_their_images(
    run_dir, sample_dir, tmp_path, capsys
):
    data = tmp_path / "clinics"
    shutil.copytree(sample_dir, data)
    table = pd.read_csv(data / "HAM10000_metadata.csv", dtype=str)
    table["dataset"] = ["vidir", "rosendahl"] * 35
    table.to_csv(data / "HAM10000_metadata.csv", index=False)
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(data)]
    out = tmp_path / "out"
    assert evaluate.main([*argv, "--output_dir", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["sources"]) == {"vidir", "rosendahl"}
    assert sum(row["images"] for row in metrics["sources"].values()) == metrics["images"]
    # The table of the training named no sources.
    assert all(row["trained_on"] for row in metrics["sources"].values())
    assert "<h2>Other sources</h2>" in (out / "report.html").read_text()
    printed = capsys.readouterr().out
    assert "sources: vidir 35, rosendahl 35" in printed
    assert re.search(r"vidir +yes +\d", printed)


def test_the_report_is_one_file_without_external_resources(evaluation):
    page = (evaluation / "report.html").read_text()
    sources = re.findall(r"""(?:src|href)=["']([^"']{0,20})""", page)
    assert len(sources) > 3
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    for words in (
        "Balanced accuracy",
        "melanoma",
        "not medical advice",
        "95\u00a0% confidence interval",
    ):
        assert words in page


def test_masks_and_artifacts_beside_the_images_are_used(run_dir, sample_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    for path in list(data.glob("*/*.jpg")):
        mask = np.zeros((150, 200), np.uint8)
        mask[50:100, 75:125] = 255
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_segmentation.png"))
    ids = sorted(path.stem for path in data.glob("*/*.jpg"))
    rows = [f"{image_id},{i % 2}" for i, image_id in enumerate(ids)]
    (data / "artifacts.csv").write_text("\n".join(["image,ink", *rows]))
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(data)]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert sum(row["images"] for row in metrics["artifacts"]["ink"].values()) == metrics["images"]
    occlusion = metrics["occlusion"]
    assert occlusion["images"] == occlusion["available"] == metrics["images"]
    assert occlusion["whole"]["accuracy"] == metrics["accuracy"]
    assert metrics["pointing_game"]["images"] == metrics["images"]
    # A third of the side length, a ninth of the area; 32 pixels are coarse.
    assert metrics["pointing_game"]["chance"] == pytest.approx(1 / 9, abs=0.02)


@pytest.mark.slow
def test_test_time_augmentation_changes_both_scripts_alike(run_dir, sample_dir, tmp_path):
    model = str(run_dir / "model.keras")
    argv = ["--model_path", model, "--split", "all", "--output_dir", str(tmp_path)]
    tables = {}
    for flags in ([], ["--tta"]):
        assert evaluate.main([*argv, *flags]) == 0
        tables[len(flags)] = pd.read_csv(tmp_path / "predictions.csv").set_index("image")
    output = tmp_path / "tta.csv"
    argv = ["--image", str(sample_dir), "--model_path", model, "--tta", "--output", str(output)]
    assert predict.main(argv) == 0
    predicted = pd.read_csv(output)
    predicted.index = predicted["image"].map(lambda path: Path(path).stem)
    columns = [name for name in predicted if name.startswith("prob_")]
    once, eight = (tables[flags].loc[predicted.index, columns] for flags in (0, 1))
    assert not once.equals(eight)
    assert np.allclose(predicted[columns], eight, atol=2e-6)


@pytest.mark.slow
def test_a_model_moved_alone_still_knows_its_split(run_dir, sample_dir, tmp_path, capsys):
    moved = tmp_path / "elsewhere.keras"
    shutil.copy(run_dir / "model.keras", moved)
    argv = ["--model_path", str(moved), "--data_dir", str(sample_dir)]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "test")]) == 0
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "all"), "--split", "all"]) == 0
    sizes = [len(pd.read_csv(tmp_path / name / "predictions.csv")) for name in ("test", "all")]
    split = pd.read_csv(run_dir / "split.csv")["split"]
    assert sizes == [(split == "test").sum(), 70]
    assert "--data_dir" in capsys.readouterr().out


def test_evaluate_without_any_image_of_the_split_suggests_all(
    run_dir, write_ham10000, tmp_path, capsys
):
    strange = write_ham10000({"ISIC_0000001": "nv", "ISIC_0000002": "mel"})
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(strange)]
    assert evaluate.main([*argv, "--split", "val"]) == 2
    assert "--split: expected images of the model's split 'val'" in capsys.readouterr().err
    assert not (run_dir / "evaluation-val").exists()


def test_evaluate_skips_a_broken_image_and_names_it(
    run_dir, sample_dir, evaluation, tmp_path, capsys
):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    split = pd.read_csv(run_dir / "split.csv")
    first, second, *_ = split.loc[split["split"] == "test", "image_id"]
    next(data.glob(f"*/{first}.jpg")).write_bytes(b"broken")
    next(data.glob(f"*/{second}.jpg")).unlink()
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(data)]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"{first}.jpg: " in err
    assert f"skipped 1 of 70 labels: no image file in {data}: {second}" in err
    whole = pd.read_csv(evaluation / "predictions.csv").set_index("image")
    left = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("image")
    assert set(whole.index) - set(left.index) == {first, second}
    # The others keep their labels, lesions and predictions.
    pd.testing.assert_frame_equal(left, whole.loc[left.index], atol=2e-6)


def as_challenge(sample_dir, root) -> pd.DataFrame:
    """Copy a data set into the layout of ISIC 2018, with one more label than images."""
    table = pd.read_csv(sample_dir / "HAM10000_metadata.csv")
    (root / "ISIC2018_Task3_Test_Input").mkdir(parents=True)
    for path in sample_dir.glob("*/*.jpg"):
        os.link(path, root / "ISIC2018_Task3_Test_Input" / path.name)
    columns = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    truth = pd.DataFrame({name: (table["dx"] == name.lower()) * 1.0 for name in columns})
    truth.insert(0, "image", table["image_id"])
    truth.loc[len(truth)] = ["ISIC_0035068", 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    truth.to_csv(root / "ISIC2018_Task3_Test_GroundTruth.csv", index=False)
    groups = table.rename(columns={"image_id": "image"})[["image", "lesion_id"]]
    groups.to_csv(root / "ISIC2018_Task3_Test_LesionGroupings.csv", index=False)
    return table


@pytest.mark.slow
def test_the_layout_of_a_challenge_gives_the_same_metrics(run_dir, sample_dir, tmp_path, capsys):
    root = tmp_path / "ISIC2018_Task3_Test"
    as_challenge(sample_dir, root)
    results = []
    for folder in (sample_dir, root):
        argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(folder)]
        argv += ["--split", "all", "--output_dir", str(tmp_path / f"out-{folder.name}")]
        assert evaluate.main(argv) == 0
        found = json.loads((tmp_path / f"out-{folder.name}" / "metrics.json").read_text())
        # HAM10000 has more subgroups, and says how diagnoses were confirmed.
        only_ham10000 = ("subgroups", "histology")
        results.append({name: value for name, value in found.items() if name not in only_ham10000})
    assert results[0] == results[1]
    captured = capsys.readouterr()
    assert f"{root}: ISIC challenge, ISIC2018_Task3_Test_GroundTruth.csv and" in captured.out
    assert "classes: MEL = mel, NV = nv" in captured.out
    assert "of these 70 images, or other images of their lesions, were used to" in captured.err
    assert f"skipped 1 of 71 labels: no image file in {root}: ISIC_0035068" in captured.err


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


def test_an_output_folder_that_cannot_be_written_is_reported_before_prediction(
    run_dir, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("training.evaluation.predict", None)
    argv = ["--model_path", str(run_dir / "model.keras"), "--output_dir", str(tmp_path / "file")]
    assert evaluate.main(argv) == 2
    message = f"--output_dir: expected a writable folder, received {tmp_path}/file (it is a file)"
    assert capsys.readouterr().err == f"evaluate.py: error: {message}; choose another\n"


def test_out_of_memory_names_the_flag_to_reduce(run_dir, sample_dir, monkeypatch, capsys):
    def without_memory(*_, **__):
        raise MemoryError

    model = ["--model_path", str(run_dir / "model.keras")]
    monkeypatch.setattr("models.classifier.Classifier.__call__", without_memory)
    assert evaluate.main(model) == 2
    assert predict.main([*model, "--image", str(next(sample_dir.rglob("*.jpg")))]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{name}.py: error: out of memory; reduce --batch_size" for name in ("evaluate", "predict")
    ]


def test_predict_shows_class_names_in_words_with_bars(run_dir, sample_dir, capsys):
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    argv = ["--image", str(image), "--model_path", str(run_dir / "model.keras")]
    assert predict.main([*argv, "--top_k", "7"]) == 0
    out = capsys.readouterr().out
    assert "melanoma (mel)" in out
    assert "█" in out
    assert "not medical advice. It is not known how many melanomas this model misses." in out
    assert "Malignant or premalignant (akiec, bcc, mel): " in out
    block = out.partition(" together\n")[2]
    rows = [line for line in block.splitlines() if "%" in line and "warning: " not in line]
    percentages = [float(row.split("%")[0].split()[-1]) for row in rows]
    assert len(percentages) == 7
    assert percentages == sorted(percentages, reverse=True)
    assert sum(percentages) == pytest.approx(100, abs=0.5)


@pytest.mark.slow
def test_what_a_model_does_not_know_of_its_classes_is_left_out_everywhere(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    path, out = str(tmp_path / "model.keras"), tmp_path / "out"
    argv = ["--model_path", path, "--data_dir", str(sample_dir), "--output_dir", str(out)]
    pages = {}
    for malignant in ((), ("mel",)):
        update_description(model, malignant=malignant, class_titles={"nv": "mole"})
        save_model(model, path)
        assert evaluate.main(argv) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert ("malignant" in metrics, "melanoma" in metrics) == (bool(malignant), True)
        pages[malignant] = (out / "report.html").read_text()
        assert "<td>mole (nv)</td>" in pages[malignant]
    assert "It is not known which classes of this model are malignant." in pages[()]
    # The same task is not shown twice.
    assert "Malignant classes: melanoma." in pages["mel",]
    for page in pages.values():
        assert "Melanoma vs. all others" in page
        assert "Malignant vs. benign" not in page
    update_description(model, malignant=())
    save_model(model, path)
    image = str(sorted(sample_dir.glob("*/*.jpg"))[0])
    capsys.readouterr()
    assert predict.main(["--model_path", path, "--image", image, "--top_k", "99"]) == 0
    assert predict.main(["--model_path", path, "--image", str(sample_dir)]) == 0
    shown = capsys.readouterr().out
    assert "mole (nv)" in shown
    assert "malignant" not in shown.lower()


def test_predict_decides_at_an_operating_point(run_dir, sample_dir, tmp_path, capsys):
    model = load_model(run_dir / "model.keras")
    path, output = str(tmp_path / "model.keras"), tmp_path / "table.csv"
    argv = ["--image", str(sample_dir), "--model_path", path, "--output", str(output)]
    argv += ["--operating_point", "malignant=sensitivity_0.90"]
    update_description(model, operating_points=None)
    save_model(model, path)
    assert predict.main(argv) == 2
    assert "--operating_point: this model has no operating points" in capsys.readouterr().err
    update_description(model, operating_points={"malignant": {"sensitivity_0.90": 0.4}})
    save_model(model, path)
    assert predict.main(argv) == 0
    table = pd.read_csv(output)
    score = table["prob_akiec"] + table["prob_bcc"] + table["prob_mel"]
    assert table["malignant_at_sensitivity_0.90"].equals(score >= 0.4)
    shown = capsys.readouterr().out
    assert shown.count("not called malignant") == (score < 0.4).sum()
    assert shown.count("called malignant") == 70


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_predict_writes_a_folder_as_a_table_that_agrees_with_evaluate(
    run_dir, evaluations, sample_dir, tmp_path, ending
):
    output = tmp_path / f"table.{ending}"
    argv = ["--image", str(sample_dir), "--model_path", str(run_dir / "model.keras")]
    assert predict.main([*argv, "--output", str(output), "--batch_size", "16"]) == 0
    table = pd.read_csv(output) if ending == "csv" else pd.read_json(output)
    assert len(table) == 70
    assert list(table)[:3] == ["image", "predicted", "confidence"]
    assert list(table)[3:5] == ["uncertain", "out_of_distribution"]
    assert table["uncertain"].dtype == table["out_of_distribution"].dtype == bool
    measured = pd.read_csv(evaluations["all"] / "predictions.csv").set_index("image")
    table.index = [Path(path).stem for path in table["image"]]
    measured = measured.loc[table.index]
    assert (table["prob_mel"] - measured["prob_mel"]).abs().max() < 1e-5
    columns = ["predicted", "uncertain", "out_of_distribution"]
    assert table[columns].equals(measured[columns])


def test_both_scripts_write_the_same_submission(run_dir, evaluations, sample_dir, tmp_path):
    output, folder = tmp_path / "table.csv", evaluations["all"]
    assert "predictions.csv, plots, submission.csv" in (folder / "output.txt").read_text()
    argv = ["--model_path", str(run_dir / "model.keras"), "--columns", "isic2018"]
    assert predict.main([*argv, "--image", str(sample_dir), "--output", str(output)]) == 0
    one, other = (pd.read_csv(p).set_index("image") for p in (output, folder / "submission.csv"))
    assert list(one) == ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert np.allclose(one, other.loc[one.index], atol=1e-5)
    predictions = pd.read_csv(folder / "predictions.csv").set_index("image")
    assert np.allclose(other["BKL"], predictions["prob_bkl"].loc[other.index], atol=1e-6)


@pytest.mark.slow
def test_predict_writes_one_heat_map_per_image(run_dir, sample_dir, tmp_path, capsys):
    (first, second, *_) = sorted(sample_dir.glob("*/*.jpg"))
    (tmp_path / "other").mkdir()
    shutil.copy(second, tmp_path / "other" / first.name)
    images = [str(first), str(tmp_path / "other" / first.name)]
    argv = ["--image", *images, "--model_path", str(run_dir / "model.keras")]
    argv += ["--explain", str(tmp_path / "maps")]
    assert predict.main([*argv, "--explain_class", "mel"]) == 0
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert names == {f"{first.stem}-mel.png", f"{first.stem}-mel-2.png"}
    assert "2 heat maps written" in capsys.readouterr().out
    assert predict.main(argv) == 0
    shown = re.findall(r"\((\w+)\) +\d", capsys.readouterr().out)[0]
    assert (tmp_path / "maps" / f"{first.stem}-{shown}.png").is_file()
    # In any case, or by another name.
    for name in ("MEL", "melanoma"):
        assert predict.main([*argv, "--explain_class", name]) == 0
        assert "2 heat maps written" in capsys.readouterr().out
    assert predict.main([*argv, "--explain_class", "wart"]) == 2
    err = capsys.readouterr().err
    assert "--explain_class: expected a class of the model, akiec, bcc, bkl" in err
    assert err.endswith("vasc; received 'wart'\n")


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


def test_a_class_name_of_a_foreign_model_writes_no_heat_map_elsewhere(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    classifier = types.SimpleNamespace(
        description=types.SimpleNamespace(
            class_names=("/../../x\x1b[31m", "n" * 300), class_titles={}
        ),
        warnings=lambda predictions: [{}, {"uncertain": "Low confidence (90 %)."}],
        explain=lambda images, class_indices: np.zeros((2, 8, 8), np.float32),
    )
    settings = config.PredictConfig(image=("a.jpg",), explain=str(tmp_path / "a" / "b" / "maps"))
    predictions = types.SimpleNamespace(
        class_indices=np.array([0, 1]), y_prob=np.array([[0.9, 0.1], [0.1, 0.9]])
    )
    explanations = predict.Explanations(classifier, settings)
    explanations.write(["A.jpg", "b.jpg"], images, predictions)
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in found} == {tmp_path / "a" / "b" / "maps"}
    assert sorted(path.name for path in found) == ["A-_.._.._x_[31m.png", f"b-{'n' * 80}.png"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="file names on Windows are text")
def test_predict_accepts_any_file_name(run_dir, sample_dir, tmp_path, capsys):
    names = [b"l\xe4sion.jpg", b"two\nlines.jpg", rb"$\no $ formula.jpg", b"n" * 251 + b".jpg"]
    folder = tmp_path / "images"
    folder.mkdir()
    for name in names:
        os.link(next(sample_dir.rglob("*.jpg")), os.path.join(os.fsencode(folder), name))
    argv = ["--model_path", str(run_dir / "model.keras"), "--image", str(folder)]
    argv += ["--explain", str(tmp_path / "explained"), "--output"]
    for ending in (".csv", ".json"):
        assert predict.main([*argv, str(tmp_path / f"table{ending}")]) == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == len(json.loads((tmp_path / "table.json").read_text())) == 4
    assert f"{folder}/l\\udce4sion.jpg" in table["image"].tolist()
    assert len(list((tmp_path / "explained").glob("*.png"))) == 4
    assert "/two?lines.jpg" in capsys.readouterr().out


def as_if_real(run_dir: Path, folder: Path) -> Path:
    """Copy the model of a run on synthetic images, as if it was trained on real ones."""
    folder.mkdir(parents=True)
    model = load_model(run_dir / "model.keras")
    update_description(model, synthetic=False, train_lesion_ids=["HAM_0000001"])
    save_model(model, folder / "model.keras")
    return folder / "model.keras"


def test_predict_uses_the_newest_run_and_names_it(
    run_dir, sample_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path / "runs"))
    model = as_if_real(run_dir, tmp_path / "runs" / "one")
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    assert predict.main(["--image", str(image)]) == 0
    out = capsys.readouterr().out
    day = day_of(run_dir)
    assert out.startswith(f"Model: {model} (newest run), trained on 42 images of sample, {day}\n")
    assert "synthetic" not in out


def test_predict_never_uses_a_run_on_synthetic_images_by_itself(
    run_dir, sample_dir, monkeypatch, capsys
):
    monkeypatch.setattr(config, "RUNS_DIR", str(run_dir.parent))
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    assert predict.main(["--image", str(image)]) == 0
    assert capsys.readouterr().out.startswith(
        f"Model: {config.BUNDLED_MODEL} (bundled model; 1 run in {run_dir.parent}/ is trained on "
        "synthetic images: choose it with --model_path), trained on 10,574 images (HAM10000 9,010, "
    )


def test_predictions_of_a_synthetic_model_begin_with_a_warning(
    run_dir, sample_dir, tmp_path, capsys, monkeypatch
):
    convert_to_tflite(load_model(run_dir / "model.keras"), tmp_path / "toy.tflite")
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    # The folder of a run stands for its model.
    for path in (run_dir, run_dir / "model.keras", tmp_path / "toy.tflite"):
        for images in (image, sample_dir):
            assert predict.main(["--image", str(images), "--model_path", str(path)]) == 0
            first, second, *_ = capsys.readouterr().out.splitlines()
            assert first == f"warning: {SYNTHETIC_WARNING}"
            model = run_dir / "model.keras" if path == run_dir else path
            assert second.startswith(f"Model: {model}, trained on 42 synthetic images, ")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert predict.main(["--image", str(image), "--model_path", str(run_dir)]) == 0
    assert capsys.readouterr().out.startswith("\x1b[31mwarning: This model was trained on synth")


def test_a_prediction_below_the_threshold_is_shown_as_uncertain(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    for threshold in (1.0, 0.0):
        update_description(model, confidence_threshold=threshold, detector=None)
        save_model(model, tmp_path / f"{threshold}.keras")
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    argv = ["--image", str(image), "--top_k", "1", "--model_path"]
    assert predict.main([*argv, str(tmp_path / "1.0.keras")]) == 0
    out = capsys.readouterr().out
    assert f"{image}\n  Uncertain\n  Malignant or premalignant" in out
    assert len(re.findall(r"\(\w+\) +\d+\.\d %", out)) == 3
    assert predict.main([*argv, str(tmp_path / "0.0.keras")]) == 0
    assert f"{image}\n  Model's prediction: " in capsys.readouterr().out


def test_a_run_folder_without_a_model_is_refused_by_its_flag(run_dir, sample_dir, tmp_path, capsys):
    for script, argv in ((predict, ["--image", str(sample_dir)]), (evaluate, [])):
        assert script.main([*argv, "--model_path", str(run_dir.parent)]) == 2
        err = capsys.readouterr().err
        message = "expected model.keras in the folder, found 1 run in it, the newest "
        assert f"error: --model_path: {run_dir.parent}: {message}{run_dir}; choose it" in err


def test_predict_without_a_run_uses_the_bundled_model_and_names_it(
    sample_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    assert predict.main(["--image", str(image)]) == 0
    assert f"Model: {config.BUNDLED_MODEL} (bundled model; no run in " in capsys.readouterr().out


def test_predict_skips_a_broken_image_and_goes_on(run_dir, sample_dir, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    argv = ["--image", str(tmp_path / "broken.jpg"), str(tmp_path / "missing.jpg"), str(image)]
    assert predict.main([*argv, "--model_path", str(run_dir / "model.keras")]) == 1
    captured = capsys.readouterr()
    assert f"skipped {tmp_path}/broken.jpg: " in captured.err
    assert f"skipped {tmp_path}/missing.jpg: file not found" in captured.err
    assert f"{image}\n" in captured.out


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


@pytest.mark.slow
@pytest.mark.skipif("HAM10000_DIR" not in os.environ, reason="HAM10000_DIR is not set")
def test_real_data_from_metadata_to_metrics(tmp_path):
    argv = ["--model", "sequential", "--data_dir", os.environ["HAM10000_DIR"]]
    argv += ["--image_size", "32", "--epochs", "2", "--output_dir", str(tmp_path)]
    assert train.main(argv) == 0
    (run,) = tmp_path.iterdir()
    model = str(run / "model.keras")
    evaluations = {}
    for split in ("train", "val", "test"):
        assert evaluate.main(["--model_path", model, "--split", split]) == 0
        evaluations[split] = pd.read_csv(run / f"evaluation-{split}" / "predictions.csv")
    assert sum(len(table) for table in evaluations.values()) == len(pd.read_csv(run / "split.csv"))
    lesions = [set(table["lesion_id"]) for table in evaluations.values()]
    assert len(set.union(*lesions)) == sum(map(len, lesions))
    # Better than chance, and than always predicting one class.
    metrics = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert metrics["macro_roc_auc"] > 0.6


@pytest.mark.parametrize(
    ("script", "argv", "message"),
    [
        (train, ["--data_dir", "nowhere"], "found no folder 'nowhere'"),
        (
            evaluate,
            ["--model_path", "nothing.keras"],
            "nothing.keras: model file not found; check the path",
        ),
        (
            predict,
            ["--image", "x.jpg", "--model_path", "no.keras"],
            "no.keras: model file not found; check the path",
        ),
        (predict, ["--image", "."], "found none"),
    ],
)
def test_missing_input_is_reported_in_one_line(
    tmp_path, monkeypatch, capsys, script, argv, message
):
    monkeypatch.chdir(tmp_path)
    assert script.main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
@pytest.mark.parametrize("flags", [["--help"], ["--no_such_flag"]])
def test_help_and_wrong_flags_do_not_wait_for_tensorflow(name, flags):
    code = f"""
import sys
import types
import {name}
try:
    {name}.main({flags!r})
except SystemExit as stop:
    code = stop.code
heavy = {{"tensorflow", "keras", "numpy", "pandas", "sklearn", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (0 if flags == ["--help"] else 2), done.stderr
    assert done.stderr.count("\n") == (0 if flags == ["--help"] else 1)
