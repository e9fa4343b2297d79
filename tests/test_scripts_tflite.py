"""evaluate.py and predict.py take a `.tflite` file wherever they take its `.keras` file."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import evaluate
import predict
from data.ham10000 import CLASS_NAMES, MALIGNANT
from data.sources import read_dataset
from models.bundle import describe, load_model, save_model
from models.conversion import convert
from models.factory import build_model

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
    describe(
        model,
        train_image_ids=known["image_id"],
        train_lesion_ids=known["lesion_id"],
        malignant=MALIGNANT,
        operating_points={"malignant": {"specificity_0.90": 0.4}},
        prediction_sets={"coverage": 0.9, "thresholds": dict.fromkeys(CLASS_NAMES, 0.1)},
    )
    folder = tmp_path_factory.mktemp("models")
    save_model(model, folder / "model.keras")
    convert(load_model(folder / "model.keras"), folder / "model.tflite")
    return {"keras": folder / "model.keras", "tflite": folder / "model.tflite"}


def test_evaluate_gives_the_same_metrics_for_a_tflite_file(files, sample_dir, tmp_path, capsys):
    metrics, pages = {}, {}
    for kind, path in files.items():
        argv = ["--model_path", str(path), "--output_dir", str(tmp_path / kind)]
        argv += ["--prevalence", "malignant=0.05", "melanoma=0.01"]
        assert evaluate.main([*argv, "--data_dir", str(sample_dir)]) == 0
        metrics[kind] = json.loads((tmp_path / kind / "metrics.json").read_text())
        pages[kind] = (tmp_path / kind / "report.html").read_text()
    for name in ("accuracy", "balanced_accuracy", "macro_roc_auc", "images"):
        assert metrics["tflite"][name] == pytest.approx(metrics["keras"][name])
    # The thresholds and sets of the .keras file are in the .tflite file, too.
    for name in ("operating_points", "prediction_sets"):
        assert metrics["tflite"][name] == metrics["keras"][name]
    point = metrics["keras"]["operating_points"]["malignant"]["specificity_0.90"]
    assert (point["threshold"], point["prevalence"]) == (0.4, 0.05)
    assert "Malignant vs. benign, stated prevalence 5.0%" in pages["keras"]
    assert metrics["keras"]["prediction_sets"]["mean_size"] >= 1
    # Of the heat maps, the console and the report of the .tflite file say that there are none.
    captured = capsys.readouterr()
    assert "malignant, 90% specificity" in captured.out
    assert "prediction sets: " in captured.out
    assert captured.err.count("Without PPV and NPV at the stated prevalence of melanoma") == 2
    assert (captured.out + captured.err).count("a .tflite file") == 1
    assert ["a .tflite file" in page for page in pages.values()] == [False, True]


def test_predict_gives_the_same_table_for_a_tflite_file(files, sample_dir, tmp_path):
    tables = []
    for kind, path in files.items():
        table = tmp_path / f"{kind}.csv"
        argv = ["--image", str(sample_dir), "--model_path", str(path), "--output", str(table)]
        assert predict.main(argv) == 0
        tables.append(pd.read_csv(table))
    assert (tables[0][["image", "predicted"]] == tables[1][["image", "predicted"]]).all().all()
    assert tables[0]["prediction_set"].equals(tables[1]["prediction_set"])
    for names, predicted in tables[0][["prediction_set", "predicted"]].values:
        assert names.split()[0] == predicted
    columns = [name for name in tables[0] if name.startswith("prob_")]
    assert np.allclose(tables[0][columns], tables[1][columns], atol=1e-5)


def test_explain_needs_the_keras_file(tmp_path, capsys):
    argv = ["--image", "x.jpg", "--model_path", "m.tflite", "--explain", str(tmp_path)]
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
