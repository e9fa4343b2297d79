"""The file for the phone: conversion, runner, and the scripts that take it."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

import config
import evaluate
import predict
import train
from app import export
from models import QUANTIZATIONS, ModelError, build_model
from models.bundle import get_description, load_model, save_model, set_split, set_temperature
from models.inference import predict_probabilities
from models.tflite import TFLiteModel, _pack, convert, open_model

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    # Far from uniform answers, so that an error shows.
    layer = model.get_layer("logits")
    layer.set_weights([40 * layer.get_weights()[0], np.array([0.5, 0, -0.5])])
    set_split(
        model,
        train_image_ids=["i1", "i2"],
        train_lesion_ids=["l1"],
        validation_image_ids=["ä3"],
        validation_lesion_ids=["l2"],
    )
    set_temperature(model, 0.5)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(model, path)
    return load_model(path)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    # Flat and busy pictures of many colours: noise alone would all look the same to the model.
    colours = rng.integers(0, 256, (64, 1, 1, 3))
    noise = rng.normal(0, 1, (64, 32, 32, 3)) * rng.integers(0, 60, (64, 1, 1, 1))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(model, images, tmp_path_factory) -> Path:
    """A folder with a file of each kind."""
    folder = tmp_path_factory.mktemp("tflite")
    for quantize in QUANTIZATIONS:
        convert(model, folder / f"{quantize}.tflite", quantize=quantize, images=images)
    return folder


def test_a_file_describes_itself_like_the_keras_file(model, folder):
    for quantize in QUANTIZATIONS:
        assert get_description(TFLiteModel(folder / f"{quantize}.tflite")) == get_description(model)


def test_probabilities_are_those_of_keras_at_its_temperature(model, folder, images):
    expected = model.predict_on_batch(images)
    assert expected.max(axis=1).mean() > 0.5
    assert len(set(expected.argmax(axis=1))) > 1
    for quantize, tolerance in (("float32", 1e-5), ("float16", 2e-3), ("int8", 0.1)):
        y_prob = TFLiteModel(folder / f"{quantize}.tflite").predict_on_batch(images)
        assert y_prob.dtype == np.float32
        assert np.abs(y_prob - expected).max() < tolerance
        assert np.allclose(y_prob.sum(axis=1), 1, atol=1e-5)
    assert (y_prob.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.95


def test_an_int8_file_is_a_quarter_and_computes_in_whole_numbers(folder):
    sizes = [(folder / f"{quantize}.tflite").stat().st_size for quantize in QUANTIZATIONS]
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] < 0.3 * sizes[0]
    graph = schema.ModelT.InitFromPackedBuf((folder / "int8.tflite").read_bytes()).subgraphs[0]
    kinds = [tensor.type for tensor in graph.tensors]
    assert kinds.count(schema.TensorType.INT8) > kinds.count(schema.TensorType.FLOAT32)


def test_any_interpreter_reads_the_file_as_it_is(folder, images):
    interpreter = tf.lite.Interpreter(str(folder / "int8.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (taken["dtype"], taken["shape"].tolist()) == (np.uint8, [1, 32, 32, 3])
    assert (given["dtype"], given["shape"].tolist()) == (np.float32, [1, 3])
    interpreter.set_tensor(taken["index"], images[:1])
    interpreter.invoke()
    answer = TFLiteModel(folder / "int8.tflite").predict_on_batch(images[:1])
    assert np.allclose(interpreter.get_tensor(given["index"]), answer, atol=1e-6)


def test_the_same_model_gives_the_same_bytes(model, folder, images, tmp_path):
    convert(model, tmp_path / "again.tflite", quantize="int8", images=images)
    assert (tmp_path / "again.tflite").read_bytes() == (folder / "int8.tflite").read_bytes()


def test_it_stands_in_for_keras_where_probabilities_are_asked_for(model, folder, images):
    lite = open_model(folder / "float32.tflite")
    for tta in (False, True):
        expected = predict_probabilities(model, images[:4], tta=tta)
        assert np.allclose(predict_probabilities(lite, images[:4], tta=tta), expected, atol=1e-5)
    assert predict_probabilities(lite, images[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match=r"uint8 \[batch, 32, 32, 3\], received float32"):
        lite.predict_on_batch(images.astype(np.float32))


def test_conversion_needs_what_it_says(model, tmp_path):
    with pytest.raises(ValueError, match="float32, float16, int8, received 'int4'"):
        convert(model, tmp_path / "f.tflite", quantize="int4")
    with pytest.raises(ValueError, match="needs images"):
        convert(model, tmp_path / "f.tflite", quantize="int8")
    assert not list(tmp_path.iterdir())


def test_a_failing_write_keeps_the_file_before(model, folder, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"before")

    def fill_the_disk(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        convert(model, path)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.tflite"]


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parts(path: Path) -> tuple[bytes, dict]:
    """Return a file's flatbuffer and what it says about itself."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        return content[: member.header_offset], json.loads(archive.read(member))


def write(path: Path, flatbuffer: bytes, record: object, name: str = "description.json") -> Path:
    path.write_bytes(flatbuffer)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, record if isinstance(record, bytes) else json.dumps(record))
    return path


def test_files_of_another_format_or_damaged_are_refused(folder, tmp_path):
    assert "found none" in refusal(tmp_path / "none.tflite")
    bad = tmp_path / "bad.tflite"
    content = (folder / "float32.tflite").read_bytes()
    flatbuffer, record = parts(folder / "float32.tflite")
    for other in (b"", b"text", b"\0" * 100):
        bad.write_bytes(other)
        assert "it is in another format" in refusal(bad)
    bad.write_bytes(flatbuffer)
    assert "it is damaged" in refusal(bad)
    for length in (9, len(flatbuffer) // 2, len(content) - 1):
        bad.write_bytes(content[:length])
        assert "it is damaged" in refusal(bad)
    middle = len(flatbuffer) // 2
    bad.write_bytes(content[:middle] + b"\1\2\3" + content[middle + 3 :])
    assert "its model is another than it describes" in refusal(bad)
    bad.write_bytes(b"more" + content)
    assert "it is in another format" in refusal(bad)
    assert "it holds 'other.json'" in refusal(write(bad, flatbuffer, record, "other.json"))
    for other in (b"{", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000):
        assert "it is damaged" in refusal(write(bad, flatbuffer, other))


def test_descriptions_that_cannot_be_are_refused(folder, tmp_path):
    flatbuffer, record = parts(folder / "float32.tflite")
    for name, value, message in (
        ("temperature", 0, "its temperature cannot be used"),
        ("temperature", "hot", "its temperature cannot be used"),
        ("temperature", float("nan"), "its temperature cannot be used"),
        ("image_size", 2.5, "its image_size cannot be used"),
        ("image_size", 64, "it should take uint8 [-1, 64, 64, 3]"),
        ("class_names", ["a", "b"], "give float32 [-1, 2]"),
        ("class_names", [1, 2, 3], "its texts cannot be used"),
        ("class_names", [], "its class_names cannot be used"),
        ("train_image_ids", "i1", "its texts cannot be used"),
        ("format", 99, "description format 99, expected 2"),
        ("unsure_below", 2, "should have a share of 0 to 1 as unsure_below"),
        ("of_tomorrow", 1, "it is damaged"),
    ):
        changed = {**record, "description": {**record["description"], name: value}}
        assert message in refusal(write(tmp_path / "bad.tflite", flatbuffer, changed)), name


def test_bombs_are_refused_before_they_unpack(folder, tmp_path):
    flatbuffer, _ = parts(folder / "float32.tflite")
    bomb = b" " * (1 << 24) + b"{}"
    message = refusal(write(tmp_path / "bad.tflite", flatbuffer, bomb))
    assert "its description would have 16,777,218 bytes" in message


def forge(path: Path, folder: Path, model, change) -> Path:
    """Write a file whose graph was changed, under a right checksum."""
    import flatbuffers

    graph = schema.ModelT.InitFromPackedBuf(parts(folder / "float32.tflite")[0])
    change(graph)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    flatbuffer = bytes(builder.Output())
    path.write_bytes(_pack(get_description(model), flatbuffer))
    return path


def test_a_graph_that_may_do_harm_is_refused(model, folder, tmp_path):
    bad = tmp_path / "bad.tflite"

    def custom(graph):
        graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
        graph.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        graph.operatorCodes[0].customCode = b"FlexWriteFile"

    def call(graph):
        graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CALL_ONCE
        graph.operatorCodes[0].deprecatedBuiltinCode = 127

    def twice(graph):
        graph.subgraphs.append(graph.subgraphs[0])

    def large(graph):
        graph.subgraphs[0].tensors[-2].shape = [1, 1 << 20, 1 << 10]

    def blockwise(graph):
        graph.subgraphs[0].tensors[1].quantization = schema.QuantizationParametersT(detailsType=2)

    def variable(graph):
        graph.subgraphs[0].tensors[-2].isVariable = True

    def unsigned(graph):
        graph.subgraphs[0].tensors[-2].type = schema.TensorType.UINT8

    assert "it holds a tensor of type 3" in refusal(forge(bad, folder, model, unsigned))
    assert "a blockwise, variable or sparse tensor" in refusal(forge(bad, folder, model, variable))
    assert "a blockwise, variable or sparse tensor" in refusal(forge(bad, folder, model, blockwise))
    assert "it holds the operation CUSTOM" in refusal(forge(bad, folder, model, custom))
    assert "it holds the operation CALL_ONCE" in refusal(forge(bad, folder, model, call))
    assert "it holds 2 graphs" in refusal(forge(bad, folder, model, twice))
    assert "a tensor of shape [1, 1048576, 1024]" in refusal(forge(bad, folder, model, large))
    assert TFLiteModel(forge(bad, folder, model, lambda graph: None)).output_shape == (None, 3)


def test_a_tflite_file_of_somebody_else_is_refused(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def double(x):
        return 2 * x

    converter = tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()])
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    assert "it is damaged: File is not a zip file" in refusal(tmp_path / "other.tflite")


@pytest.fixture(scope="module")
def run_dir(sample_dir, tmp_path_factory) -> Path:
    """A run of the baseline on the sample pictures, with its files for the phone beside it."""
    runs = tmp_path_factory.mktemp("runs")
    argv = ["--model", "sequential", "--data_dir", str(sample_dir), "--output_dir", str(runs)]
    assert train.main([*argv, "--image_size", "32", "--batch_size", "8", "--epochs", "2"]) == 0
    (found,) = runs.glob("sequential-*")
    return found


def test_export_prints_size_agreement_accuracy_and_latency(run_dir, sample_dir, capfd, monkeypatch):
    monkeypatch.setattr(export, "TIMED", 2)
    argv = [str(run_dir / "model.keras"), "--data_dir", str(sample_dir)]
    assert export.main(argv) == 0
    assert (run_dir / "model-float32.tflite").is_file()
    out, err = capfd.readouterr()
    assert "same most probable class" in out
    assert "100.0%" in out
    for word in (
        "float32, ",
        "MB",
        "accuracy",
        "balanced accuracy",
        "one image, ms",
        "model.predict",
    ):
        assert word in out
    assert "deprecated" not in err
    assert export.main([*argv, "--quantize", "int8", "--output", str(run_dir / "i.tflite")]) == 0
    assert get_description(open_model(run_dir / "i.tflite")).model == "sequential"
    assert (run_dir / "i.tflite").stat().st_size < 2e6


def test_export_refuses_wrong_usage_in_one_line(run_dir, write_ham10000, tmp_path, capsys):
    keras_file = str(run_dir / "model.keras")
    for argv in (
        [],
        ["model.h5"],
        [keras_file, "--output", "model.keras"],
        [keras_file, "--output", str(tmp_path / "none" / "f.tflite")],
        [keras_file, "--quantize", "int4"],
    ):
        with pytest.raises(SystemExit) as stopped:
            export.main(argv)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert export.main(["none.keras"]) == 2
    other = write_ham10000({"ISIC_1": "nv", "ISIC_2": "mel"})
    assert export.main([keras_file, "--data_dir", str(other)]) == 2
    err = capsys.readouterr().err
    assert "the data that the model was trained on" in err
    assert err.count("\n") == 2


def test_evaluate_takes_a_tflite_file_and_gives_the_same_figures(run_dir, tmp_path, capsys):
    convert(load_model(run_dir / "model.keras"), run_dir / "phone.tflite")
    figures = {}
    for name in ("model.keras", "phone.tflite"):
        argv = ["--model_path", str(run_dir / name), "--output_dir", str(tmp_path / name)]
        assert evaluate.main(argv) == 0
        figures[name] = json.loads((tmp_path / name / "metrics.json").read_text())
    out = capsys.readouterr().out
    assert out.count("without heat maps: a .tflite file gives none") == 1
    for name in ("accuracy", "balanced_accuracy", "macro_roc_auc", "images"):
        assert figures["phone.tflite"][name] == pytest.approx(figures["model.keras"][name])
    pages = [(tmp_path / name / "report.html").read_text() for name in figures]
    assert ["where the model looked" in page for page in pages] == [True, False]
    assert "Without heat maps" in pages[1]
    assert "<p>What the model saw.</p>" in pages[1]
    assert pages[1].count("taken for") == pages[0].count("taken for") > 0


def test_predict_takes_a_tflite_file_and_gives_the_same_table(run_dir, sample_dir, tmp_path):
    convert(load_model(run_dir / "model.keras"), run_dir / "phone.tflite")
    tables = []
    for name in ("model.keras", "phone.tflite"):
        table = tmp_path / f"{name}.csv"
        argv = ["--image", str(sample_dir), "--model_path", str(run_dir / name)]
        assert predict.main([*argv, "--output", str(table)]) == 0
        tables.append(pd.read_csv(table))
    assert (tables[0][["image", "predicted"]] == tables[1][["image", "predicted"]]).all().all()
    columns = [name for name in tables[0] if name.startswith("prob_")]
    assert np.allclose(tables[0][columns], tables[1][columns], atol=1e-5)


def test_explain_asks_for_the_keras_file(tmp_path, capsys):
    argv = ["--image", "x.jpg", "--model_path", "m.tflite", "--explain", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        predict.main(argv)
    assert stopped.value.code == 2
    assert "--explain needs the .keras file" in capsys.readouterr().err


def test_scripts_refuse_a_damaged_tflite_file_in_one_line(folder, sample_dir, tmp_path, capsys):
    (tmp_path / "bad.tflite").write_bytes((folder / "int8.tflite").read_bytes()[:-100])
    picture = str(next(sample_dir.glob("**/*.jpg")))
    path = ["--model_path", str(tmp_path / "bad.tflite")]
    assert evaluate.main([*path, "--data_dir", str(sample_dir)]) == 2
    assert predict.main([*path, "--image", picture]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.slow
def test_the_shipped_model_in_int8_is_small_and_answers_alike(tmp_path, ham10000_dir, capsys):
    shipped = tmp_path / "model.keras"
    shutil.copy(Path(export.__file__).parent.parent / config.PRETRAINED_MODEL, shipped)
    assert export.main([str(shipped), "--data_dir", ham10000_dir, "--quantize", "int8"]) == 0
    assert (tmp_path / "model-int8.tflite").stat().st_size < 3e6
    out = capsys.readouterr().out
    (agreement,) = [line for line in out.splitlines() if line.startswith("same most probable")]
    assert float(agreement.split()[-1].rstrip("%")) >= 97
    (balanced,) = [line.split()[-2:] for line in out.splitlines() if line.startswith("balanced")]
    assert abs(float(balanced[0]) - float(balanced[1])) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet", "convnext"])
def test_other_backbones_answer_the_same_on_the_phone(name, tmp_path):
    model = build_model(name, image_size=32, class_names=("a", "b", "c"))
    convert(model, tmp_path / "m.tflite")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    answers = TFLiteModel(tmp_path / "m.tflite").predict_on_batch(images)
    assert np.allclose(answers, model.predict_on_batch(images), atol=1e-5)


@pytest.mark.slow
def test_a_transformer_is_refused_before_a_file_is_written(tmp_path):
    pytest.importorskip("keras_hub")
    model = build_model("vit", image_size=32, class_names=("a", "b", "c"))
    with pytest.raises(ModelError, match="vit cannot be exported: it holds the operation"):
        convert(model, tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []
