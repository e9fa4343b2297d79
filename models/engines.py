"""Which engine runs a `.keras` file: Keras or, on a CPU, LiteRT, in a fraction of the time.

LiteRT runs a conversion of the file, which is made once and kept in a cache folder. Its name is the
checksum of the model file: a file that changes is converted again.

Keras takes seconds to import: that waits until Keras runs, converts or explains a model.
"""

from __future__ import annotations

import contextlib
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import ModelError
from models.backend import has_gpu, start_tensorflow
from models.checksums import file_checksum
from models.conversion_cache import keep_conversion, read_conversion
from models.description import Description
from models.network import Network
from models.tflite import LiteNetwork, pack, unpack
from support.cli import is_out_of_memory

if TYPE_CHECKING:
    import keras

    from models.keras_network import KerasNetwork

# The conversion has to give the probabilities and features of Keras up to this, for features also
# relative to their size.
TOLERANCE = 1e-4


class ConvertedModel(LiteNetwork):
    """Runs the conversion of a `.keras` file; Keras computes the heat maps.

    Args:
        path: the file.
        description: of the model.
        flatbuffer: its conversion.
        checksum: of the file.
        keras_network: of the file, where it is loaded already.
    """

    kind = ".keras"
    can_explain = True

    def __init__(
        self,
        path: Path,
        description: Description,
        flatbuffer: bytes,
        *,
        checksum: str,
        keras_network: KerasNetwork | None = None,
    ) -> None:
        super().__init__(description, flatbuffer)
        self._path, self._checksum, self._lock = path, checksum, threading.Lock()
        if keras_network is not None:
            self._keras_network = keras_network

    def prepare_explanations(self) -> None:
        """Load Keras and the model in the background; see `Network`."""

        def prepare() -> None:
            # Whatever fails here fails again where somebody waits for it.
            with self._lock, contextlib.suppress(Exception):
                self._keras_network.prepare_explanations()

        threading.Thread(target=prepare, daemon=True).start()

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM heat maps; see `models.grad_cam.Explainer`."""
        with self._lock:
            return self._keras_network.explain(images, class_indices)

    @cached_property
    def _keras_network(self) -> KerasNetwork:
        if not self._path.is_file() or file_checksum(self._path) != self._checksum:
            raise ModelError(f"{self._path}: the file changed while it was in use; start again")
        return _open_with_keras(self._path)


def open_keras_file(path: Path, engine: str) -> Network:
    """Open a `.keras` file with an engine.

    Args:
        path: the file, which may have been written by anybody.
        engine: one of `models.ENGINES`; `auto` is LiteRT where there is no GPU and it can run the
            model, else Keras.

    Raises:
        ModelError: there is no such file, it is not a model of this project, or `litert` cannot
            run it.
    """
    if engine == "keras" or (engine == "auto" and has_gpu()) or not path.is_file():
        return _open_with_keras(path)
    checksum = file_checksum(path)
    conversion, keras_network = _read_kept(checksum), None
    if conversion is None:
        keras_network = _open_with_keras(path)
        conversion = _convert(keras_network)
        if conversion is not None:
            keep_conversion(checksum, pack(*conversion) if conversion else b"")
    if conversion:
        return ConvertedModel(path, *conversion, checksum=checksum, keras_network=keras_network)
    keras_network = keras_network or _open_with_keras(path)
    if engine == "litert":
        raise ModelError(
            f"{path}: expected a model that LiteRT can run, received "
            f"{keras_network.description.model}, which only Keras can run"
        )
    return keras_network


def as_network(model: keras.Model | Network) -> Network:
    """Return a network for a Keras model in memory; a network is returned as it is."""
    if isinstance(model, Network):
        return model
    from models.keras_network import KerasNetwork

    return KerasNetwork(model)


def _open_with_keras(path: Path) -> KerasNetwork:
    start_tensorflow()
    from models.bundle import load_model
    from models.keras_network import KerasNetwork

    model = load_model(path)
    try:
        return KerasNetwork(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_kept(checksum: str) -> tuple[Description, bytes] | tuple[()] | None:
    """Return what was kept of `_convert`; None if that is nothing, or damaged."""
    content = read_conversion(checksum)
    if not content:
        return None if content is None else ()
    try:
        return unpack(content)
    except Exception:  # damaged archives and JSON fail in many ways
        return None


def _convert(network: KerasNetwork) -> tuple[Description, bytes] | tuple[()] | None:
    """Convert a model.

    Returns:
        Its description and the conversion; `()` if LiteRT cannot run it, or not as Keras does; None
        if memory or disk space was short, which says nothing about the model.
    """
    from models.tflite_conversion import to_flatbuffer

    description, size = network.description, network.description.image_size
    try:
        flatbuffer = to_flatbuffer(network.with_features, size, "float32")
        converted = LiteNetwork(description, flatbuffer)
    except Exception as error:  # the converter raises whatever its passes raise
        return None if isinstance(error, OSError) or is_out_of_memory(error) else ()
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    outputs = zip(network.predict_on_batch(images), converted.predict_on_batch(images), strict=True)
    if all(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE) for a, b in outputs):
        return description, flatbuffer
    return ()
