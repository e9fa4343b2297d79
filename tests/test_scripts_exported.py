"""evaluate.py and predict.py take an exported file wherever they take its `.keras` file."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from exports import write_files

import evaluate
import predict
from data.ham10000 import CLASS_NAMES, MALIGNANT
from data.images import load_image
from data.sources import read_dataset
from models.bundle import update_description
from models.classifier import Classifier
from models.factory import build_model
from models.novelty import fit_detector

pytestmark = pytest.mark.usefixtures("models_loaded_once", "shallow_baseline")


@pytest.fixture(scope="module")
def files(sample_dir, tmp_path_factory) -> dict[str, Path]:
    """A model that knows half of the sample images, as a file of each kind."""
    frame = read_dataset(sample_dir).frame
    lesions = sorted(set(frame["lesion_id"]))[::2]
    known = frame[frame["lesion_id"].isin(lesions)]
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    # Confident predictions, so that rounding does not change their order.
    layer = model.get_layer("logits")
    layer.set_weights([40 * layer.get_weights()[0], layer.get_weights()[1]])
    update_description(
        model,
        train_image_ids=known["image_id"],
        train_lesion_ids=known["lesion_id"],
        malignant=MALIGNANT,
        operating_points={"malignant": {"specificity_0.90": 0.4}},
        prediction_sets={"coverage": 0.9, "thresholds": dict.fromkeys(CLASS_NAMES, 0.1)},
    )
    size = model.input_shape[1]
    images = np.stack([load_image(path, size) for path in known["path"]])
    features = Classifier(model).features(images)
    detector = fit_detector(features, components=4)
    # Between two images, so that rounding does not change which are above it.
    scores = np.sort(detector.score(features))
    threshold = float(scores[len(scores) // 2 :][:2].mean())
    update_description(model, detector=replace(detector, threshold=threshold).to_config())
    return write_files(model, tmp_path_factory.mktemp("models"))


@pytest.mark.slow
def test_evaluate_gives_the_same_metrics_for_exported_files(files, sample_dir, tmp_path, capsys):
    metrics, pages = {}, {}
    for kind, path in files.items():
        argv = ["--model_path", str(path), "--output_dir", str(tmp_path / kind)]
        argv += ["--prevalence", "malignant=0.05", "melanoma=0.01"]
        assert evaluate.main([*argv, "--data_dir", str(sample_dir)]) == 0
        metrics[kind] = json.loads((tmp_path / kind / "metrics.json").read_text())
        pages[kind] = (tmp_path / kind / "report.html").read_text()
    for kind in files:
        for name in ("accuracy", "balanced_accuracy", "macro_roc_auc", "images"):
            assert metrics[kind][name] == pytest.approx(metrics["keras"][name])
        # The thresholds and sets of the .keras file are in the others, too.
        for name in ("operating_points", "prediction_sets"):
            assert metrics[kind][name] == metrics["keras"][name]
    point = metrics["keras"]["operating_points"]["malignant"]["specificity_0.90"]
    assert (point["threshold"], point["prevalence"]) == (0.4, 0.05)
    assert "Malignant vs. benign, stated prevalence 5\u00a0%" in pages["keras"]
    assert metrics["keras"]["prediction_sets"]["mean_size"] >= 1
    # Of the heat maps, the console and the report of an exported file say that there are none.
    captured = capsys.readouterr()
    assert "malignant, 90 % specificity" in captured.out
    assert "prediction sets: " in captured.out
    assert captured.err.count("Without PPV and NPV at the stated prevalence of mela") == len(files)
    assert (captured.out + captured.err).count("not an exported file") == len(files) - 1
    for kind, page in pages.items():
        assert ("not an exported file" in page) == (kind != "keras")


def test_predict_gives_the_same_table_for_exported_files(files, sample_dir, tmp_path):
    tables = {}
    for kind, path in files.items():
        table = tmp_path / f"{kind}.csv"
        argv = ["--image", str(sample_dir), "--model_path", str(path), "--output", str(table)]
        assert predict.main(argv) == 0
        tables[kind] = pd.read_csv(table)
    expected = tables.pop("keras")
    assert set(expected["out_of_distribution"]) == {True, False}
    for names, predicted in expected[["prediction_set", "predicted"]].values:
        assert names.split()[0] == predicted
    columns = [name for name in expected if name.startswith("prob_")]
    for table in tables.values():
        for name in ("image", "predicted", "prediction_set", "out_of_distribution"):
            assert table[name].equals(expected[name])
        assert np.allclose(table[columns], expected[columns], atol=1e-5)


@pytest.mark.parametrize("name", ["m.tflite", "m.onnx"])
def test_explain_needs_the_keras_file(name, tmp_path, capsys):
    argv = ["--image", "x.jpg", "--model_path", name, "--explain", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        predict.main(argv)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert "--explain" in err
    assert ".keras file" in err


def test_a_damaged_tflite_file_is_refused_in_one_line(files, sample_dir, tmp_path, capsys):
    (tmp_path / "bad.tflite").write_bytes(files["tflite"].read_bytes()[:-100])
    image = str(next(sample_dir.glob("**/*.jpg")))
    path = ["--model_path", str(tmp_path / "bad.tflite")]
    assert evaluate.main([*path, "--data_dir", str(sample_dir)]) == 2
    assert predict.main([*path, "--image", image]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 2
    assert err.count("the file is truncated, or of another program") == 2


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_its_packages_an_onnx_file_is_refused_in_one_line(
    package, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "m.onnx").write_bytes(b"any")
    (tmp_path / "x.jpg").write_bytes(b"any")
    argv = ["--model_path", str(tmp_path / "m.onnx"), "--image", str(tmp_path / "x.jpg")]
    assert predict.main(argv) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "m.onnx: an .onnx file needs onnx, onnxruntime and tf2onnx (" in err
    assert err.endswith("): pip install -r requirements-onnx.txt\n")


def test_a_saved_model_is_for_other_programs(tmp_path, sample_dir, capsys):
    (tmp_path / "saved_model.pb").write_bytes(b"any")
    path = ["--model_path", str(tmp_path)]
    assert predict.main([*path, "--image", str(sample_dir)]) == 2
    assert evaluate.main([*path, "--data_dir", str(sample_dir)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 2
    assert err.count("found a SavedModel, which is for other programs; choose the .keras file") == 2
