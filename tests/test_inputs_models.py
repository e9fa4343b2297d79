"""Every row of the model files in docs/inputs.md."""

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from exports import HAS_ONNX
from input_rows import assert_printed, each_row, jpeg, read_rows

import evaluate
import predict
from models.bundle import load_model, save_model
from models.description_checks import peek_description
from models.onnx_file import pack

pytestmark = pytest.mark.usefixtures("shallow_baseline", "without_notes")


def rewrite(path: Path, target: Path, change: Callable | None = None, **members: bytes) -> None:
    """Copy a model file with another configuration, and with other or additional members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        content = {name: old.read(name) for name in old.namelist()}
        settings = json.loads(content["config.json"])
        if change:
            change(settings["config"])
        content["config.json"] = json.dumps(settings).encode()
        for name, value in (content | members).items():
            new.writestr(name, value)


def changing(change: Callable) -> Callable:
    return lambda path, target: rewrite(path, target, change)


def serialized(name: str, module: str, settings: dict | str) -> dict:
    return {"class_name": name, "module": module, "config": settings, "registered_name": None}


def insert_lambda(config: dict) -> None:
    layers = [serialized("Lambda", "keras.layers", {})]
    config["layers"].insert(1, serialized("Sequential", "keras", {"layers": layers}))


def insert_function(config: dict) -> None:
    config["layers"][1]["config"].update(fn=serialized("function", "os", "system"))


def insert_lookup(config: dict) -> None:
    layer = serialized("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"})
    config["layers"].insert(1, layer)


def enlarge_layer(config: dict) -> None:
    (layer,) = (layer for layer in config["layers"] if layer["class_name"] == "Dense")
    layer["config"]["units"] = 1 << 28


def enlarge_padding(config: dict) -> None:
    padding = {"name": "padding", "padding": [[0, 20_000], [0, 20_000]]}
    config["layers"].insert(1, serialized("ZeroPadding2D", "keras.layers", padding))


def rename_layer(config: dict) -> None:
    config["layers"][1]["config"]["argument_of_tomorrow"] = 1


def with_description(**values) -> Callable:
    return lambda config: config["layers"][-1]["config"]["description"].update(values)


def enlarge_input(config: dict) -> None:
    with_description(image_size=40_000)(config)
    config["layers"][0]["config"]["batch_shape"] = [None, 40_000, 40_000, 3]


def write_zip_bomb(path: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1 << 20))


def write_hdf5(path: Path, target: Path) -> None:
    with h5py.File(target, "w") as file:
        file["weights"] = np.zeros(3)


def write_link(path: Path, target: Path) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    rewrite(path, target, **{"model.weights.h5": content.getvalue()})


def write_damaged(path: Path, target: Path) -> None:
    content = path.read_bytes()
    target.write_bytes(content[:3000] + b"\0\0\0" + content[3003:])


def write_without_description(path: Path, target: Path) -> None:
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(7)]).save(target)


def write_nan(path: Path, target: Path) -> None:
    model = load_model(path)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    save_model(model, target)


def onnx_model(operator: str = "Relu", *, domain: str = "", location: str = "") -> bytes:
    """Return an ONNX model of one operator, and of one tensor if it is in another file."""
    from onnx import ModelProto, TensorProto, helper

    names = ("probabilities", "features")
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 32, 32, 3])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 7]) for name in names]
    nodes = [helper.make_node(operator, ["pixels"], names, domain=domain)]
    graph = helper.make_graph(nodes, "main", inputs, outputs)
    if location:
        tensor = graph.initializer.add(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
    operators = [helper.make_opsetid(name, 15) for name in {"", domain}]
    model: ModelProto = helper.make_model(graph, opset_imports=operators)
    return model.SerializeToString()


def writing_onnx(operator: str, **options: str) -> Callable[[Path, Path], object]:
    """Return a function that writes a model with a description and its checksum."""
    return lambda path, target: target.write_bytes(
        pack(peek_description(path), onnx_model(operator, **options))
    )


def write_saved_model(path: Path, target: Path) -> None:
    target.mkdir()
    (target / "saved_model.pb").write_bytes(b"any")


ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:"


# Each writes a file, given the path of a good model.
MODEL_FILES = {
    "missing file": lambda path, target: None,
    "folder without a model": lambda path, target: target.mkdir(),
    "text": lambda path, target: target.write_text("not a model"),
    "HDF5 named `.keras`": write_hdf5,
    "pickle": lambda path, target: target.write_bytes(pickle.dumps({"weights": [1, 2, 3]})),
    "truncated file": lambda path, target: target.write_bytes(path.read_bytes()[:-9999]),
    "ONNX named `.keras`": lambda path, target: target.write_bytes(ONNX),
    "ONNX named `.tflite`": lambda path, target: target.write_bytes(ONNX),
    "`.tflite` of another program": lambda path, target: target.write_bytes(
        b"\x1c\0\0\0TFL3" + bytes(100)
    ),
    "`.onnx` without its packages": lambda path, target: target.write_bytes(ONNX),
    "truncated `.onnx`": lambda path, target: target.write_bytes(ONNX),
    "`.onnx` of another program": lambda path, target: target.write_bytes(onnx_model()),
    "`.onnx` with another model": lambda path, target: target.write_bytes(
        pack(peek_description(path), onnx_model()).replace(b"Relu", b"Tanh")
    ),
    "`.onnx` with an operator of others": writing_onnx("Relu", domain="com.microsoft"),
    "`.onnx` with a loop": writing_onnx("Loop"),
    "`.onnx` with weights in another file": writing_onnx("Relu", location="/etc/passwd"),
    "folder of a SavedModel": write_saved_model,
    "damaged content": write_damaged,
    "additional file": lambda path, target: rewrite(path, target, **{"other.txt": b"text"}),
    "zip bomb": write_zip_bomb,
    "`Lambda` layer in a nested model": changing(insert_lambda),
    "function of another module": changing(insert_function),
    "layer that reads another file": changing(insert_lookup),
    "layer with gigabytes of weights": changing(enlarge_layer),
    "layer with gigabytes of outputs": changing(enlarge_padding),
    "weights in another file": write_link,
    "JSON nested a hundred thousand times": lambda path, target: rewrite(
        path, target, **{"metadata.json": b"[" * 100_000}
    ),
    "no description": write_without_description,
    "wrong number of outputs": changing(with_description(class_names=["a", "b"])),
    "input of 40,000 x 40,000 pixels": changing(enlarge_input),
    "class names that are not strings": changing(with_description(class_names=[*range(7)])),
    "class that is malignant and no class": changing(with_description(malignant=["other"])),
    "negative temperature": changing(with_description(temperature=-1.0)),
    "NaN as weights": write_nan,
    "layer of a later Keras": lambda path, target: rewrite(
        path, target, rename_layer, **{"metadata.json": b'{"keras_version": "9.9.9"}'}
    ),
}


def test_all_rows_of_model_files_are_tested():
    assert [title for title, _ in read_rows("Model files")] == list(MODEL_FILES)


@pytest.mark.parametrize(("title", "line"), each_row("Model files"))
def test_model_files(untrained_model, sample_dir, tmp_path, capsys, monkeypatch, title, line):
    suffix = next((s for s in (".tflite", ".onnx") if f"`{s}`" in title), ".keras")
    if "without its packages" in title:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    elif suffix == ".onnx" and not HAS_ONNX:
        pytest.skip("needs requirements-onnx.txt")
    model = tmp_path / f"model{suffix}"
    MODEL_FILES[title](untrained_model, model)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert predict.main(["--image", str(tmp_path / "a.jpg"), "--model_path", str(model)]) == 2
    assert_printed(line, capsys.readouterr().err)
    assert evaluate.main(["--model_path", str(model), "--data_dir", str(sample_dir)]) == 2
    assert_printed(line.replace("predict.py", "evaluate.py"), capsys.readouterr().err)
