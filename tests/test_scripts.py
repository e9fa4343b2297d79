"""The three scripts from end to end, as a user types them."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import config
import evaluate
import predict
import train
from data.images import load_image
from data.sample import write_sample_dataset
from models import weights
from models.bundle import get_description, load_model, save_model
from models.inference import FeatureReader
from models.novelty import read_detector
from models.progress import Progress

ROOT = Path(__file__).parent.parent
SMALL = ["--image_size", "32", "--batch_size", "8"]


@pytest.fixture(scope="module")
def run_dir(sample_dir, tmp_path_factory) -> Path:
    """A run of the baseline on the sample pictures, trained once."""
    runs = tmp_path_factory.mktemp("runs")
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(runs)]
    assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (found,) = runs.glob("sequential-*")
    return found


def test_a_run_directory_holds_what_the_design_promises(run_dir, sample_dir):
    files = {"config.json", "split.csv", "history.csv", "learning_curves.png", "model.keras"}
    assert {path.name for path in run_dir.iterdir()} >= files
    split = pd.read_csv(run_dir / "split.csv")
    assert list(split) == ["image_id", "lesion_id", "label", "split"]
    assert split["split"].value_counts().sum() == 70
    assert split.groupby("lesion_id")["split"].nunique().max() == 1
    settings = json.loads((run_dir / "config.json").read_text())["config"]
    assert (settings["data_dir"], settings["image_size"]) == (str(sample_dir), 32)
    assert len(pd.read_csv(run_dir / "history.csv")) == 2


def test_train_prints_a_table_and_the_two_commands_to_type_next(
    sample_dir, tmp_path, capsys, monkeypatch
):
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL, "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "validation accuracy" in out
    commands = [line.split()[1:] for line in out.splitlines() if line.startswith("  python ")]
    assert [command[0] for command in commands] == ["evaluate.py", "predict.py"]
    assert evaluate.main(commands[0][1:]) == 0
    assert predict.main(commands[1][1:]) == 0


def test_the_same_command_twice_gives_the_same_history(sample_dir, tmp_path, run_dir):
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL, "--epochs", "2"]) == 0
    (again,) = tmp_path.glob("sequential-*")
    for name in ("split.csv", "history.csv"):
        assert (again / name).read_bytes() == (run_dir / name).read_bytes()


def test_pictures_in_a_file_give_the_history_of_pictures_in_memory(
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


def test_evaluate_on_validation_repeats_the_figure_of_training(run_dir, tmp_path, capsys):
    argv = ["--model_path", str(run_dir / "model.keras"), "--split", "val"]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    history = pd.read_csv(run_dir / "history.csv")
    best = history.loc[history["val_balanced_accuracy"].idxmax()]
    assert metrics["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert metrics["balanced_accuracy"] == pytest.approx(best["val_balanced_accuracy"], abs=1e-6)
    assert "config.json" in capsys.readouterr().out


def test_evaluate_takes_the_test_split_and_writes_beside_the_model(run_dir, capsys):
    assert evaluate.main(["--model_path", str(run_dir / "model.keras")]) == 0
    out = run_dir / "evaluation-test"
    split = pd.read_csv(run_dir / "split.csv")
    predictions = pd.read_csv(out / "predictions.csv")
    assert set(predictions["image"]) == set(split.loc[split["split"] == "test", "image_id"])
    assert list(predictions)[:4] == ["image", "predicted", "confidence", "prob_akiec"]
    plots = {"confusion_matrix.png", "roc.png", "reliability.png"}
    assert plots <= {path.name for path in out.iterdir()}
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"} <= set(metrics)
    assert metrics["per_class"]["mel"]["support"] > 0
    assert "balanced accuracy" in capsys.readouterr().out


def test_metrics_hold_what_the_contract_names(run_dir):
    assert evaluate.main(["--model_path", str(run_dir / "model.keras")]) == 0
    metrics = json.loads((run_dir / "evaluation-test" / "metrics.json").read_text())
    summary = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc")
    for name in summary:
        low, high = metrics["intervals"][name]
        assert low <= metrics[name] <= high
    for question in ("malignant", "melanoma"):
        assert set(metrics[question]["sensitivity_at_specificity"]) == {"0.80", "0.90", "0.95"}
        assert 0 <= metrics[question]["roc_auc"] <= 1
    keys = {"expected_calibration_error", "brier_score", "negative_log_likelihood"}
    calibration = metrics["calibration"]
    assert set(calibration["before"]) == set(calibration["after"]) == keys
    assert (
        calibration["temperature"]
        == get_description(load_model(run_dir / "model.keras")).temperature
    )
    assert set(metrics["subgroups"]) == {"sex", "age", "localization", "dx_type"}
    assert metrics["pointing_game"] is None


def test_training_leaves_a_temperature_that_serves_the_validation_images(run_dir, tmp_path):
    path = str(run_dir / "model.keras")
    assert get_description(load_model(path)).temperature != 1.0
    assert (
        evaluate.main(["--model_path", path, "--split", "val", "--output_dir", str(tmp_path)]) == 0
    )
    calibration = json.loads((tmp_path / "metrics.json").read_text())["calibration"]
    before, after = calibration["before"], calibration["after"]
    assert after["negative_log_likelihood"] < before["negative_log_likelihood"]


def test_training_leaves_what_the_model_warns_by(run_dir, sample_dir, tmp_path, capsys):
    model = load_model(run_dir / "model.keras")
    description = get_description(model)
    assert description.unsure_accuracy == config.TrainConfig().unsure_accuracy
    assert 0 < description.unsure_below <= 1
    detector = read_detector(description.detector, features=FeatureReader(model).count)
    split = pd.read_csv(run_dir / "split.csv")
    validation = set(split.loc[split["split"] == "val", "image_id"])
    paths = [str(path) for path in sample_dir.rglob("*.jpg") if path.stem in validation]
    y_prob, features = FeatureReader(model)(np.stack([load_image(path, 32) for path in paths]))
    assert (detector.score(features) <= detector.threshold).mean() >= 0.9
    # A bar each with the sentence, and a word in the lines of a folder.
    unsure = paths[int(y_prob.max(axis=1).argmin())]
    argv = ["--model_path", str(run_dir / "model.keras"), "--image"]
    assert predict.main([*argv, unsure]) == 0
    assert "  warning: The model is unsure" in capsys.readouterr().out
    for name in ("a.jpg", "b.jpg"):  # a folder of one is shown with bars
        shutil.copy(unsure, tmp_path / name)
    assert predict.main([*argv, str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ".jpg" in line]
    assert len(lines) == 2
    assert all(line.endswith("unsure") for line in lines)


def test_a_model_file_without_thresholds_serves_and_says_what_it_lacks(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    model.layers[-1].description = dataclasses.replace(
        get_description(model), unsure_below=None, unsure_accuracy=None, detector=None
    )
    save_model(model, tmp_path / "model.keras")
    image = str(next(sample_dir.rglob("*.jpg")))
    assert predict.main(["--model_path", str(tmp_path / "model.keras"), "--image", image]) == 0
    out, err = capsys.readouterr()
    assert "warning" not in out
    assert "this model file cannot warn of unsure answers or of pictures" in err


def test_figures_that_cannot_be_computed_are_null_and_the_report_stands(
    run_dir, write_ham10000, tmp_path
):
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


def test_the_report_is_one_file_that_asks_nobody(run_dir):
    assert evaluate.main(["--model_path", str(run_dir / "model.keras")]) == 0
    page = (run_dir / "evaluation-test" / "report.html").read_text()
    sources = re.findall(r"""(?:src|href)=["']([^"']{0,20})""", page)
    assert len(sources) > 3
    assert all(source.startswith("data:image/") for source in sources)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    for words in ("balanced accuracy", "melanoma", "no medical advice", "95 % interval"):
        assert words in page


def test_masks_beside_the_images_are_compared_with_the_heat_maps(run_dir, sample_dir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    for path in list(data.glob("*/*.jpg")):
        mask = np.zeros((150, 200), np.uint8)
        mask[50:100, 75:125] = 255
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_segmentation.png"))
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(data)]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["pointing_game"]["images"] == metrics["images"]
    # A third of the square's side, and a ninth of its area; 32 pixels are a coarse ruler.
    assert metrics["pointing_game"]["chance"] == pytest.approx(1 / 9, abs=0.02)


def test_eight_views_change_the_probabilities_of_both_scripts_alike(run_dir, sample_dir, tmp_path):
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


def test_evaluate_without_any_image_of_the_split_names_the_way_out(
    run_dir, write_ham10000, tmp_path, capsys
):
    strange = write_ham10000({"ISIC_0000001": "nv", "ISIC_0000002": "mel"})
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(strange)]
    assert evaluate.main([*argv, "--split", "val"]) == 2
    assert "--split all" in capsys.readouterr().err
    assert not (run_dir / "evaluation-val").exists()


def test_evaluate_leaves_a_broken_image_out_and_says_so(run_dir, sample_dir, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    split = pd.read_csv(run_dir / "split.csv")
    first, second, *_ = split.loc[split["split"] == "test", "image_id"]
    next(data.glob(f"*/{first}.jpg")).write_bytes(b"broken")
    next(data.glob(f"*/{second}.jpg")).unlink()
    argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(data)]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert f"{first}.jpg should be an image" in err
    assert f"1 of 70 labels have no image file in {data}: {second}" in err
    left = (split["split"] == "test").sum() - 2
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == left


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


def test_the_layout_of_a_challenge_gives_the_figures_of_ham10000s(
    run_dir, sample_dir, tmp_path, capsys
):
    root = tmp_path / "ISIC2018_Task3_Test"
    as_challenge(sample_dir, root)
    figures = []
    for folder in (sample_dir, root):
        argv = ["--model_path", str(run_dir / "model.keras"), "--data_dir", str(folder)]
        argv += ["--split", "all", "--output_dir", str(tmp_path / f"out-{folder.name}")]
        assert evaluate.main(argv) == 0
        found = json.loads((tmp_path / f"out-{folder.name}" / "metrics.json").read_text())
        # HAM10000 knows more groups.
        figures.append({name: value for name, value in found.items() if name != "subgroups"})
    assert figures[0] == figures[1]
    captured = capsys.readouterr()
    assert f"{root}: ISIC challenge, ISIC2018_Task3_Test_GroundTruth.csv and" in captured.out
    assert "classes: MEL = mel, NV = nv" in captured.out
    assert "of these 70 images, or others of their lesions, took part in training" in captured.err
    assert f"1 of 71 labels have no image file in {root}: ISIC_0035068" in captured.err


@pytest.mark.slow
def test_extra_data_are_learned_from_but_not_what_validation_or_test_show(
    sample_dir, tmp_path, capsys
):
    extra = tmp_path / "more" / "ISIC"
    as_challenge(sample_dir, extra)
    # Ten pictures that are new, under new ids.
    made_up = tmp_path / "new"
    write_sample_dataset(made_up, images_per_class=10, seed=5)
    new = tmp_path / "classes" / "melanoma"
    new.mkdir(parents=True)
    for place, path in enumerate(sorted(made_up.glob("*/*.jpg"))[:10]):
        os.link(path, new / f"other-{place}.jpg")
    # A picture of the test split under another name.
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
    assert f"{held} by id or lesion, 0 by their pixels" in out
    assert f"left out, since they are learned from already: {70 - held}" in out
    assert "10 of 11 images are added" in out
    assert "0 by id or lesion, 1 by their pixels" in out
    (run,) = (tmp_path / "more-runs").iterdir()
    more = pd.read_csv(run / "split.csv")
    assert more[: len(split)].equals(split)
    assert set(more["split"][len(split) :]) == {"train"}
    model = run / "model.keras"
    assert {f"other-{place}" for place in range(10)} <= set(
        get_description(load_model(model)).train_image_ids
    )


def test_many_missing_images_stop_a_training_unless_that_is_allowed(sample_dir, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    sorted(data.glob("*/*.jpg"))[0].unlink()
    argv = ["--model", "sequential", *SMALL, "--epochs", "1", "--data_dir", str(data)]
    argv += ["--output_dir", str(tmp_path / "runs")]
    assert train.main(argv) == 2
    assert "1 of 70 labels have no image file" in capsys.readouterr().err
    assert train.main([*argv, "--allow_missing"]) == 1
    assert "left out: 1 of 70 labels" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_noticed_before_any_prediction(
    run_dir, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(evaluate, "predict", None)
    argv = ["--model_path", str(run_dir / "model.keras"), "--output_dir", str(tmp_path / "file")]
    assert evaluate.main(argv) == 2
    message = "cannot be written (File exists); name another with --output_dir"
    assert capsys.readouterr().err == f"evaluate.py: error: {tmp_path}/file {message}\n"


def test_out_of_memory_says_which_flag_to_lower(run_dir, sample_dir, monkeypatch, capsys):
    def without_memory(*_, **__):
        raise MemoryError

    model = ["--model_path", str(run_dir / "model.keras")]
    monkeypatch.setattr("models.inference.predict_views", without_memory)
    assert evaluate.main(model) == 2
    monkeypatch.setattr("models.inference.FeatureReader.__call__", without_memory)
    assert predict.main([*model, "--image", str(next(sample_dir.rglob("*.jpg")))]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{name}.py: error: out of memory: lower --batch_size" for name in ("evaluate", "predict")
    ]


def test_predict_shows_the_diagnosis_in_words_with_bars(run_dir, sample_dir, capsys):
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    argv = ["--image", str(image), "--model_path", str(run_dir / "model.keras")]
    assert predict.main([*argv, "--top_k", "7"]) == 0
    out = capsys.readouterr().out
    assert "melanoma (mel)" in out
    assert "█" in out
    assert "no medical advice" in out
    rows = [line for line in out.splitlines() if "%" in line and "warning: " not in line]
    shares = [float(row.split("%")[0].split()[-1]) for row in rows]
    assert len(shares) == 7
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_predict_writes_a_folder_as_a_table_that_agrees_with_evaluate(
    run_dir, sample_dir, tmp_path, capsys, ending
):
    output = tmp_path / f"table.{ending}"
    argv = ["--image", str(sample_dir), "--model_path", str(run_dir / "model.keras")]
    assert predict.main([*argv, "--output", str(output), "--batch_size", "16"]) == 0
    table = pd.read_csv(output) if ending == "csv" else pd.read_json(output)
    assert len(table) == 70
    assert list(table)[:3] == ["image", "predicted", "confidence"]
    argv = ["--model_path", str(run_dir / "model.keras"), "--split", "all"]
    assert evaluate.main([*argv, "--output_dir", str(tmp_path / "all")]) == 0
    measured = pd.read_csv(tmp_path / "all" / "predictions.csv").set_index("image")
    table.index = [Path(path).stem for path in table["image"]]
    both = table.join(measured, rsuffix="_measured")
    assert (both["prob_mel"] - both["prob_mel_measured"]).abs().max() < 1e-5


def test_predict_explains_each_image_in_a_picture_of_its_own(run_dir, sample_dir, tmp_path, capsys):
    (first, second, *_) = sorted(sample_dir.glob("*/*.jpg"))
    (tmp_path / "other").mkdir()
    shutil.copy(second, tmp_path / "other" / first.name)
    images = [str(first), str(tmp_path / "other" / first.name)]
    argv = ["--image", *images, "--model_path", str(run_dir / "model.keras")]
    argv += ["--explain", str(tmp_path / "maps")]
    assert predict.main([*argv, "--explain_class", "mel"]) == 0
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert names == {f"{first.stem}-mel.png", f"{first.stem}-mel-2.png"}
    assert "2 explanations" in capsys.readouterr().out
    assert predict.main(argv) == 0
    shown = re.findall(r"\((\w+)\) ", capsys.readouterr().out)[0]
    assert (tmp_path / "maps" / f"{first.stem}-{shown}.png").is_file()
    assert predict.main([*argv, "--explain_class", "melanoma"]) == 2
    assert "should be one of akiec" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="its names of files are text")
def test_predict_takes_files_of_any_name(run_dir, sample_dir, tmp_path, capsys):
    names = [b"l\xe4sion.jpg", b"two\nlines.jpg", rb"$\no $ formula.jpg", b"n" * 251 + b".jpg"]
    folder = tmp_path / "pictures"
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


def test_predict_uses_the_newest_run_and_says_which(run_dir, sample_dir, monkeypatch, capsys):
    monkeypatch.setattr(config, "RUNS_DIR", str(run_dir.parent))
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    assert predict.main(["--image", str(image)]) == 0
    assert f"model: {run_dir / 'model.keras'} (the newest run)" in capsys.readouterr().out


def test_predict_without_a_run_uses_the_shipped_model_and_says_so(
    sample_dir, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(config, "RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    assert predict.main(["--image", str(image)]) == 0
    assert f"model: {config.PRETRAINED_MODEL} (the shipped one; " in capsys.readouterr().out


def test_predict_does_the_others_when_one_image_is_broken(run_dir, sample_dir, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    image = sorted(sample_dir.glob("*/*.jpg"))[0]
    argv = ["--image", str(tmp_path / "broken.jpg"), str(tmp_path / "missing.jpg"), str(image)]
    assert predict.main([*argv, "--model_path", str(run_dir / "model.keras")]) == 1
    captured = capsys.readouterr()
    assert "broken.jpg should be an image" in captured.err
    assert "missing.jpg should be an image" in captured.err
    assert f"{image}\n" in captured.out


def test_training_leaves_broken_and_missing_images_out(sample_dir, tmp_path, capsys, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(sample_dir, data)
    images = sorted(data.glob("*/*.jpg"))
    # What the header tells is said of the test's images, too; what only decoding tells is not.
    for image in images[:12]:
        image.write_bytes(b"broken")
    for image in images[12:24]:
        image.write_bytes(image.read_bytes()[:-500])
    argv = ["--model", "sequential", "--data_dir", str(data), "--output_dir", str(tmp_path / "r")]
    assert train.main([*argv, *SMALL, "--epochs", "1"]) == 1
    said = capsys.readouterr().err
    assert said.count("it is in no format that Pillow knows") == 12
    (run,) = (tmp_path / "r").iterdir()
    kept = pd.read_csv(run / "split.csv")
    cut = sum(kept["image_id"].isin([image.stem for image in images[12:24]]))
    assert said.count("image file is truncated") == 12 - cut
    assert cut < 12
    assert not set(kept["image_id"]) & {image.stem for image in images[:12]}
    for image in images:
        image.write_bytes(b"broken")
    assert train.main([*argv, *SMALL]) == 2
    assert "none of the images of the split 'train'" in capsys.readouterr().err.splitlines()[-1]
    images[0].unlink()
    assert train.main([*argv, *SMALL]) == 2
    err = capsys.readouterr().err
    assert "unpack all image archives" in err
    assert err.count("\n") == 1


def test_real_data_never_start_from_noise(sample_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "_site_answers", lambda site: False)
    argv = ["--model", "mobilenet", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL]) == 2
    err = capsys.readouterr().err
    assert "--weights none" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sample_run_without_weights_starts_from_random_ones_and_says_so(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(weights, "_site_answers", lambda site: False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(config.PRESETS, "sample", {"data_dir": "s", "sample_images_per_class": 6})
    argv = ["--model", "mobilenet", "--sample", *SMALL, "--epochs", "1"]
    assert train.main(argv) == 0
    assert "starts from random weights" in capsys.readouterr().out
    (run,) = Path("runs").glob("mobilenet-*")
    settings = json.loads((run / "config.json").read_text())["config"]
    assert (settings["weights"], settings["head_epochs"]) == ("none", 0)
    assert (settings["batch_norm_trains"], settings["batch_norm_momentum"]) == (True, 0.9)
    assert pd.read_csv(run / "history.csv")["phase"].tolist() == ["fine-tune"]
    # Weights that were asked for by name are never replaced.
    assert train.main([*argv, "--weights", "imagenet"]) == 2


def test_ctrl_c_names_the_model_that_is_left_and_exits_130(
    sample_dir, tmp_path, capsys, monkeypatch
):
    def interrupt(self, epoch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_epoch_end", interrupt)
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(tmp_path)]
    assert train.main([*argv, *SMALL]) == 130
    (model,) = tmp_path.glob("*/model.keras")
    assert str(model) in capsys.readouterr().err
    assert load_model(model)


@pytest.mark.slow
def test_both_phases_of_mobilenet_repeat_exactly(sample_dir, tmp_path):
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
def test_real_data_from_metadata_to_figures(tmp_path):
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
    # Better than chance, and than always naming one class.
    metrics = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert metrics["macro_roc_auc"] > 0.6


@pytest.mark.parametrize(
    ("script", "argv", "message"),
    [
        (train, ["--data_dir", "nowhere"], "found no folder 'nowhere'"),
        (evaluate, ["--model_path", "nothing.keras"], "found none at nothing.keras"),
        (predict, ["--image", "x.jpg", "--model_path", "no.keras"], "found none at no.keras"),
        (predict, ["--image", "."], "found none"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    tmp_path, monkeypatch, capsys, script, argv, message
):
    monkeypatch.chdir(tmp_path)
    assert script.main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_head_and_the_first_epochs_learn_from_small_pictures():
    def plan(**options):
        settings = config.TrainConfig(**{"small_epochs_share": 0.4, **options})
        phases = train.plan(train.fill_in(settings))
        return [(p.name, p.epochs, p.learning_rate, p.image_size, p.continues) for p in phases]

    assert plan(epochs=10, head_epochs=1, learning_rate=1e-3, head_learning_rate=2e-3) == [
        ("head", 1, 2e-3, 128, False),
        ("small", 4, 1e-3, 128, False),
        ("fine-tune", 6, 1e-3, 192, True),
    ]
    # All at one size: there is nothing smaller, or no epoch to do it in, or nobody wants it.
    one_size = {"head_epochs": 1, "learning_rate": 1e-3, "head_learning_rate": 2e-3}
    for options in ({"image_size": 32}, {"epochs": 1}, {"small_epochs_share": 0.0}):
        size, epochs = options.get("image_size", 192), options.get("epochs", 16)
        assert plan(**one_size, **options) == [
            ("head", 1, 2e-3, size, False),
            ("fine-tune", epochs, 1e-3, size, False),
        ]
    assert [size for *_, size, _ in plan(epochs=0)] == [192]
    assert [size for *_, size, _ in plan(small_epochs_share=1.0)] == [128, 128]
    assert plan(model="sequential", weights="none", image_size=96)[0][3] == 96
    # Position embeddings belong to one size of picture.
    assert [size for *_, size, _ in plan(model="vit")] == [224, 224]


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
@pytest.mark.parametrize("flags", [["--help"], ["--no_such_flag"]])
def test_help_and_wrong_flags_answer_before_tensorflow_is_loaded(name, flags):
    code = f"""
import sys
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


def test_a_second_run_in_the_same_second_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(train.time, "strftime", lambda _: "now")
    settings = config.TrainConfig(output_dir=str(tmp_path))
    frame = pd.DataFrame(columns=["image_id", "lesion_id", "label", "split"])
    names = [train.start_run(frame, settings, {}).name for _ in range(3)]
    assert names == ["mobilenet-now", "mobilenet-now-2", "mobilenet-now-3"]
