"""`predict.py` from end to end, as a user types it."""

import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from script_runs import day_of

import config
import evaluate
import predict
from models.bundle import load_model, save_model, update_description
from models.description import SYNTHETIC_WARNING
from models.tflite_conversion import convert_to_tflite

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")


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
