"""The command `python -m app.export`."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from exports import needs_onnx

import config
from app import export
from app.export_comparison import (
    agreement,
    format_agreement,
    format_warnings,
    largest_difference,
    time_in_turn,
)
from app.export_images import choose_balanced
from app.settings import ExportConfig
from data.ham10000 import CLASS_NAMES
from data.images import load_image
from data.sources import drop_missing, read_dataset
from data.splits import split_by_lesion
from models import EXPORT_FORMATS, QUANTIZATIONS
from models.bundle import save_model, update_description
from models.classifier import load_classifier
from models.factory import build_model
from models.predictions import Predictions
from support import InputError

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")


@pytest.fixture(scope="module")
def model_path(sample_dir, tmp_path_factory) -> Path:
    """An untrained model whose description names the splits of the sample data set."""
    frame = read_dataset(sample_dir).frame
    split = split_by_lesion(frame, seed=0, validation_fraction=0.2, test_fraction=0.2)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    update_description(
        model,
        train_image_ids=frame.loc[split == "train", "image_id"],
        validation_image_ids=frame.loc[split == "val", "image_id"],
    )
    path = tmp_path_factory.mktemp("run") / "model.keras"
    save_model(model, path)
    return path


@pytest.fixture
def settings(model_path, sample_dir) -> ExportConfig:
    return ExportConfig(model_path=str(model_path), data_dir=str(sample_dir), timed_calls=2)


def test_export_prints_size_agreement_accuracy_and_latency(settings, model_path, capfd):
    assert export.export(settings) == 0
    assert model_path.with_name("model-float32.tflite").is_file()
    out, err = capfd.readouterr()
    for expected in (
        "model-float32.tflite: litert, float32, ",
        " MB",
        "14 validation images",
        "accuracy",
        "balanced accuracy",
        "latency of one image, ms",
        "Keras, model.predict",
    ):
        assert expected in out
    (line,) = [line for line in out.splitlines() if line.startswith("same predicted class")]
    assert line.split()[-2:] == ["100.0", "%"]
    assert err == ""


@pytest.mark.parametrize(
    ("kind", "name", "title"),
    [
        pytest.param("onnx", "model.onnx", ".onnx", marks=needs_onnx),
        ("saved_model", "model-saved_model", "SavedModel"),
    ],
)
def test_other_formats_are_compared_as_well(settings, model_path, kind, name, title, capfd):
    assert export.export(dataclasses.replace(settings, format=kind)) == 0
    out, err = capfd.readouterr()
    assert out.count(f"{model_path.with_name(name)}: {kind}, float32, ") == 1
    for line in out.splitlines():
        if line.startswith("14 validation images"):
            assert line.split()[-2:] == [".keras", title]
        if line.startswith("same predicted class"):
            assert line.split()[-2:] == ["100.0", "%"]
    assert "latency of one image, ms" in out
    assert err == ""
    if kind == "onnx":
        assert load_classifier(model_path.with_name(name)).description.model == "sequential"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "tf2onnx"])
def test_without_the_packages_for_onnx_one_line_says_what_to_install(
    model_path, package, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, package, None)
    # Only one is missing, wherever this test runs.
    for other in {"onnx", "onnxruntime", "tf2onnx"} - {package}:
        monkeypatch.setitem(sys.modules, other, ModuleType(other))
    assert export.main([str(model_path), "--format", "onnx"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "python -m app.export: error: --format onnx needs onnx, onnxruntime and tf2onnx (import of "
        f"{package} halted; None in sys.modules): pip install -r requirements-onnx.txt\n"
    )


def test_export_writes_int8_to_the_output_file(settings, tmp_path):
    output = tmp_path / "small.tflite"
    settings = dataclasses.replace(settings, quantize="int8", output=str(output))
    assert export.export(settings) == 0
    assert load_classifier(output).description.model == "sequential"
    assert output.stat().st_size < 2e6


def test_an_unreadable_image_is_skipped_and_named(settings, sample_dir, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(sample_dir, copy)
    validation = load_classifier(settings.model_path).description.validation_image_ids
    broken, *others = [next(copy.glob(f"*/{name}.jpg")) for name in validation]
    broken.write_bytes(b"no image")
    settings = dataclasses.replace(
        settings, data_dir=str(copy), output=str(tmp_path / "model.tflite")
    )
    assert export.export(settings) == 1
    out, err = capsys.readouterr()
    assert f"skipped {broken}: " in err
    assert f"{len(others)} validation images" in out
    for path in others:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=f"none of the {len(validation)} can be read"):
        export.export(settings)


def test_wrong_usage_is_reported_in_one_line(model_path, write_ham10000, tmp_path, capsys):
    for argv in (
        [],
        ["model.h5"],
        ["model.tflite"],
        [str(model_path), "--output", "model.keras"],
        [str(model_path), "--quantize", "int4"],
        [str(model_path), "--format", "tensorrt"],
        [str(model_path), "--format", "onnx", "--quantize", "int8"],
        [str(model_path), "--format", "saved_model", "--quantize", "float16"],
        [str(model_path), "--format", "onnx", "--output", "model.tflite"],
        [str(model_path), "--format", "saved_model", "--output", "model.pb"],
    ):
        with pytest.raises(SystemExit) as stopped:
            export.main(argv)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    other_data = str(write_ham10000({"ISIC_1": "nv", "ISIC_2": "mel"}))
    for argv, message in (
        (["none.keras"], "none.keras: model file not found"),
        (
            [str(model_path), "--output", str(tmp_path / "none" / "model.tflite")],
            "--output: expected a file in an existing folder",
        ),
        (
            [str(model_path), "--data_dir", other_data],
            "--data_dir: expected the data that the model was trained on, received 2 images",
        ),
        *(
            (
                [str(model_path), "--data_dir", str(tmp_path / "none"), "--quantize", quantize],
                "--data_dir: expected a folder of images and labels, found no",
            )
            for quantize in QUANTIZATIONS
        ),
    ):
        assert export.main(argv) == 2
        err = capsys.readouterr().err
        assert f"python -m app.export: error: {message}" in err
        assert err.count("\n") == 1


@pytest.fixture
def run_without_data(model_path, tmp_path, monkeypatch) -> Path:
    """A run folder whose data is gone; the default folder of the data does not exist either."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(model_path, run / "model.keras")
    (run / "config.json").write_text(json.dumps({"config": {"data_dir": "datasets/gone"}}))
    return run


def export_run(run: Path, **options) -> int:
    return export.export(ExportConfig(model_path=str(run), timed_calls=1, **options))


@pytest.mark.parametrize("quantize", ["float32", "float16"])
def test_floating_point_needs_no_images(run_without_data, quantize, capfd):
    assert export_run(run_without_data, quantize=quantize) == 0
    assert (run_without_data / f"model-{quantize}.tflite").is_file()
    out, err = capfd.readouterr()
    assert "latency of one image, ms" in out
    assert "same predicted class" not in out
    assert err == (
        "note: the predictions of both files were not compared: found no images at datasets/gone "
        f"(from {run_without_data / 'config.json'})\n"
    )


def test_int8_without_images_is_refused_in_one_line(run_without_data, capsys):
    (run_without_data / "config.json").unlink()
    assert export.main([str(run_without_data), "--quantize", "int8"]) == 2
    assert not (run_without_data / "model-int8.tflite").exists()
    err = capsys.readouterr().err
    assert f"found no images at {config.DATA_DIR} (the default, since" in err
    assert err.count("\n") == 1


def test_the_data_folder_of_the_run_is_used_and_stated(run_without_data, sample_dir, capsys):
    settings = run_without_data / "config.json"
    settings.write_text(json.dumps({"config": {"data_dir": str(sample_dir)}}))
    assert export_run(run_without_data) == 0
    out = capsys.readouterr().out
    assert f"Data: {sample_dir} (from {settings})" in out
    assert "14 validation images" in out


def test_a_default_folder_with_other_data_is_a_warning(run_without_data, write_ham10000, capsys):
    data = str(write_ham10000({"ISIC_1": "nv", "ISIC_2": "mel"}))
    (run_without_data / "config.json").write_text(json.dumps({"config": {"data_dir": data}}))
    assert export_run(run_without_data) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: the predictions of both files were not compared: ")
    assert err.count("\n") == 1
    assert export.main([str(run_without_data), "--quantize", "int8"]) == 2


def test_predictions_are_compared_by_class_and_by_probability():
    keras_prob = np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.6, 0.4]])
    tflite_prob = np.array([[0.7, 0.3], [0.55, 0.45], [0.1, 0.9], [0.6, 0.4]])
    assert agreement(keras_prob, tflite_prob) == 0.75
    assert largest_difference(keras_prob, tflite_prob) == pytest.approx(0.15)
    rows = format_agreement(
        np.array([0, 1, 1, 0]), keras_prob, tflite_prob, ("nv", "mel"), kind=".tflite"
    )
    assert [line.split()[-2:] for line in rows.splitlines()] == [
        [".keras", ".tflite"],
        ["1.000", "0.750"],
        ["1.000", "0.750"],
        ["75.0", "%"],
        ["probability", "0.15"],
    ]


def test_warnings_are_compared_where_both_files_give_them():
    y_prob = np.full((4, 2), 0.5)
    first, second = (
        Predictions(
            y_prob=y_prob,
            uncalibrated=y_prob,
            uncertain=None,
            out_of_distribution=np.array(flags, bool),
        )
        for flags in ([0, 1, 1, 0], [0, 1, 0, 0])
    )
    assert format_warnings(first, second).split() == [
        *("same", "warning,", "out", "of", "distribution", "75.0", "%")
    ]
    nothing = dataclasses.replace(first, out_of_distribution=None)
    assert format_warnings(first, nothing) == ""


def test_calls_take_turns():
    order = []
    calls = [lambda: order.append("a"), lambda: order.append("b")]
    assert len(time_in_turn(calls, repetitions=2)) == 2
    assert order == ["a", "b"] * 5


def test_calibration_images_are_balanced_where_classes_are_large_enough():
    frame = pd.DataFrame({"label": ["nv"] * 50 + ["mel"] * 10 + ["df"] * 2})
    counts = choose_balanced(frame, 14)["label"].value_counts()
    assert counts.to_dict() == {"nv": 6, "mel": 6, "df": 2}
    assert choose_balanced(frame, 14).index.equals(choose_balanced(frame, 14).index)
    assert len(choose_balanced(frame, 1000)) == 62


@pytest.mark.slow
def test_the_bundled_model_in_int8_is_small_and_predicts_the_same(tmp_path, ham10000_dir, capsys):
    bundled = tmp_path / "model.keras"
    shutil.copy(Path(config.__file__).parent / config.BUNDLED_MODEL, bundled)
    assert export.main([str(bundled), "--data_dir", ham10000_dir, "--quantize", "int8"]) == 0
    assert (tmp_path / "model-int8.tflite").stat().st_size < 0.31 * bundled.stat().st_size
    lines = capsys.readouterr().out.splitlines()
    (same,) = [line for line in lines if line.startswith("same predicted class")]
    assert float(same.split()[-2]) >= 97
    (balanced,) = [line.split()[-2:] for line in lines if line.startswith("balanced accuracy")]
    assert abs(float(balanced[0]) - float(balanced[1])) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["litert", pytest.param("onnx", marks=needs_onnx), "saved_model"])
def test_the_bundled_model_predicts_and_warns_the_same_in_each_format(kind, tmp_path, ham10000_dir):
    bundled = load_classifier(Path(config.__file__).parent / config.BUNDLED_MODEL)
    frame, _ = drop_missing(read_dataset(ham10000_dir).frame, ham10000_dir)
    size = bundled.description.image_size
    paths = frame["path"].sample(100, random_state=0)
    images = np.stack([load_image(path, size) for path in paths])
    # Noise, which the detector finds.
    images[::10] = np.random.default_rng(0).integers(0, 256, images[::10].shape)
    settings = ExportConfig(model_path="model.keras", format=kind)
    output = tmp_path / f"model{EXPORT_FORMATS[kind]}"
    exported = export.write(bundled.network.model, output, settings, None)
    expected, predictions = bundled(images), exported(images)
    assert np.abs(predictions.y_prob - expected.y_prob).max() < 1e-4
    for name in ("class_indices", "uncertain", "out_of_distribution"):
        assert (getattr(predictions, name) == getattr(expected, name)).all()
        assert len(set(getattr(expected, name))) > 1
