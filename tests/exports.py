"""The files that a model is exported to, for tests that ask all of them the same."""

from importlib.util import find_spec
from pathlib import Path

import keras
import pytest

from models.bundle import load_model, save_model
from models.onnx_conversion import convert_to_onnx
from models.tflite_conversion import convert_to_tflite

ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
HAS_ONNX = all(find_spec(name) for name in ONNX_PACKAGES)
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="needs requirements-onnx.txt")
# The kinds of exported files that a classifier takes.
KINDS = ("tflite", pytest.param("onnx", marks=needs_onnx))


def write_files(model: keras.Model, folder: Path) -> dict[str, Path]:
    """Write a model as a file of each kind, `.onnx` where its packages are installed."""
    save_model(model, folder / "model.keras")
    loaded = load_model(folder / "model.keras")
    convert_to_tflite(loaded, folder / "model.tflite")
    if HAS_ONNX:
        convert_to_onnx(loaded, folder / "model.onnx")
    return {path.suffix[1:]: path for path in sorted(folder.iterdir())}
