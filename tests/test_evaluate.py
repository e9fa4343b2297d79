"""`evaluate.py` from end to end, as a user types it."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from script_runs import as_challenge

import evaluate
from app import card
from models.bundle import get_description, load_model
from models.description import SYNTHETIC_WARNING

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")


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
