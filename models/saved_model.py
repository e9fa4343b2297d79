"""Writing a model as a SavedModel, the folder that TensorFlow Serving and other programs load.

A SavedModel can run any operation of TensorFlow, also those that write files: only one that was
just written is loaded here.
"""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from models import ModelError
from models.backend import quiet
from models.bundle import add_features, get_description
from models.exported import OUTPUTS, PIXELS, write_record
from models.keras_export import export, take_pixels
from models.network import Network, check_pixels
from support.files import replacing_folder

# TensorFlow leaves this folder, inside that of the model, to what others want to keep there.
_DESCRIPTION_FILE = Path("assets.extra", "description.json")


def write_saved_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a model as a SavedModel, whole or not at all.

    Its signature `serving_default` takes and returns what the `.onnx` file does, see
    `models.onnx_conversion.convert_to_onnx`. The description is a JSON file in `assets.extra`.

    Args:
        model: from `models.bundle.load_model`.
        path: folder; a SavedModel of that name is replaced.

    Raises:
        ModelError: the folder exists, and is no SavedModel.
    """
    path = Path(path)
    if path.exists() and not _is_saved_model(path) and (path.is_file() or any(path.iterdir())):
        raise ModelError(
            f"{path}: expected a new folder or a SavedModel to replace, received another file or "
            "folder; choose another name"
        )
    with replacing_folder(path) as temporary:
        export(take_pixels(model), temporary, "tf_saved_model")
        record = temporary / _DESCRIPTION_FILE
        record.parent.mkdir()
        record.write_text(write_record(get_description(model), b""), encoding="utf-8")


def _is_saved_model(path: Path) -> bool:
    """Tell whether a path is a folder with a SavedModel."""
    return (path / "saved_model.pb").is_file()


class SavedModel(Network):
    """Runs a SavedModel that `write_saved_model` wrote in this process.

    Args:
        path: the folder.
        model: that it was written from.
    """

    kind = "SavedModel"

    def __init__(self, path: str | os.PathLike, model: keras.Model) -> None:
        self.description, self.engine = get_description(model), f"TensorFlow {tf.__version__}"
        self.feature_count = add_features(model).outputs[1].shape[-1]
        with quiet():
            # The signature does not keep what it belongs to.
            self._loaded = tf.saved_model.load(os.fspath(path))
        self._serve = self._loaded.signatures["serving_default"]

    def predict_on_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features; see `Network`."""
        check_pixels(images, self.description.image_size)
        results = self._serve(**{PIXELS: tf.constant(images)})
        y_prob, features = (results[name].numpy() for name in OUTPUTS)
        return y_prob, features
