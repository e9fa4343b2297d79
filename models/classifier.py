"""The one way to ask a model, whether its file is `.keras`, `.tflite` or `.onnx`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import ModelError
from models.calibration import at_temperature_one
from models.conformal import find_sets
from models.engines import as_network, open_keras_file
from models.network import Network
from models.novelty import read_detector
from models.onnx_file import ONNXModel
from models.photographs import score_photographs
from models.predictions import BaseClassifier, Predictions
from models.tflite import TFLiteModel

if TYPE_CHECKING:
    import keras


class Classifier(BaseClassifier):
    """Predicts and explains the class of images; for one thread at a time.

    Args:
        model: from `build_model` or `load_model`, or another network.
        path: the file that it was loaded from, None for a model in memory.

    Attributes:
        path: as given.
        network: what gives probabilities and features.
        description: of the model.
        can_explain: whether there are heat maps, which only a `.keras` file gives.
        detector: of out-of-distribution images; None if the model has none.

    Raises:
        ModelError: the model has no description, no layer `logits`, or a broken detector.
    """

    def __init__(self, model: keras.Model | Network, path: Path | None = None) -> None:
        self.path, self.network = path, as_network(model)
        self.description = self.network.description
        self.can_explain = self.network.can_explain
        self.detector = read_detector(
            self.description.detector, features=self.network.feature_count
        )

    @property
    def engine(self) -> str:
        """What computes the predictions, with its version, for display."""
        return self.network.engine

    @property
    def missing_warnings(self) -> str:
        """One sentence that names the warnings the model cannot give; empty if it gives all."""
        missing = []
        if self.description.confidence_threshold is None:
            missing.append("low confidence")
        if self.detector is None:
            missing.append(
                "images that do not look like dermatoscopic images"
                if self.description.photograph_threshold is None
                else "images that show no skin"
            )
        return f"This model file cannot warn about {' or '.join(missing)}." if missing else ""

    def __call__(self, images: np.ndarray, *, tta: bool = False) -> Predictions:
        """Predict a batch.

        Args:
            images: uint8 `[images, image_size, image_size, 3]`, 0..255; also float32 for a
                `.keras` file; may be empty.
            tta: test-time augmentation: whether to average over eight flips and rotations, at
                eight times the cost; `out_of_distribution` is that of the images as they are.
        """
        views = _flips_and_rotations(images) if tta else [images]
        outputs = [self._predict(view) for view in views]
        by_view = np.stack([y_prob for y_prob, _ in outputs])
        y_prob = by_view.mean(axis=0)
        return Predictions(
            y_prob=y_prob,
            uncalibrated=at_temperature_one(by_view, self.description.temperature).mean(axis=0),
            uncertain=self.find_uncertain(y_prob),
            out_of_distribution=self._find_out_of_distribution(images, outputs[0][1]),
            prediction_set=self._find_sets(y_prob),
        )

    def predict_with_features(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and pooled features, the input of the last layer, in one pass.

        Args:
            images: uint8 or float32 `[images, image_size, image_size, 3]`, 0..255; may be empty.

        Returns:
            float32 `[images, classes]` and float32 `[images, features]`.

        Raises:
            ModelError: the model file has no features, as the first `.tflite` files.
        """
        if not self.network.feature_count:
            raise ModelError(
                f"{self._name}: expected a model file that gives features, received one without; "
                "export it again, or use the .keras file that it was exported from"
            )
        return self._predict(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the pooled features alone; see `predict_with_features`."""
        return self.predict_with_features(images)[1]

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM heat maps; see `models.grad_cam.Explainer`.

        Args:
            images: uint8 or float32 `[images, image_size, image_size, 3]`, 0..255; may be empty.
            class_indices: int `[images]`, the class to explain for each image.

        Returns:
            float32 `[images, image_size, image_size]` in 0..1.

        Raises:
            ModelError: the model is no `.keras` file.
        """
        self._check_heat_maps()
        if len(images) == 0:
            return np.zeros(images.shape[:3], np.float32)
        return self.network.explain(images, class_indices)

    def prepare_explanations(self) -> None:
        """Make the first call of `explain` as quick as the others; see `Network`.

        Raises:
            ModelError: the model is no `.keras` file.
        """
        self._check_heat_maps()
        self.network.prepare_explanations()

    def _check_heat_maps(self) -> None:
        if not self.can_explain:
            raise ModelError(
                f"{self._name}: expected a .keras file, which gives heat maps, received a "
                f"{self.network.kind} file; use the .keras file that it was exported from"
            )

    @property
    def _name(self) -> str:
        return str(self.path or f"a {self.network.kind} model")

    def _find_out_of_distribution(
        self, images: np.ndarray, features: np.ndarray
    ) -> np.ndarray | None:
        """Tell which images are out of distribution, see `Predictions`."""
        photograph_threshold = self.description.photograph_threshold
        flags = []
        if self.detector is not None:
            flags.append(self.detector.score(features) > self.detector.threshold)
        if photograph_threshold is not None:
            # As float64, to compare with the exact threshold.
            scores = score_photographs(images).astype(np.float64)
            flags.append(scores > photograph_threshold)
        return np.logical_or.reduce(flags) if flags else None

    def _find_sets(self, y_prob: np.ndarray) -> np.ndarray | None:
        """Return the prediction set of each image, see `Predictions`."""
        if self.description.prediction_sets is None:
            return None
        thresholds = self.description.prediction_sets["thresholds"]
        return find_sets(y_prob, np.array([thresholds[n] for n in self.description.class_names]))

    def _predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features of one view."""
        if len(images) == 0:
            counts = len(self.description.class_names), self.network.feature_count
            return np.zeros((0, counts[0]), np.float32), np.zeros((0, counts[1]), np.float32)
        return self.network.predict_on_batch(images)


# By the ending of a file; all others should be `.keras` files.
_NETWORKS = {".tflite": TFLiteModel, ".onnx": ONNXModel}


def load_classifier(path: str | os.PathLike, *, engine: str = "keras") -> Classifier:
    """Load a model file.

    Args:
        path: a file ending in `.tflite` or `.onnx`, or else a `.keras` file.
        engine: what runs a `.keras` file, see `models.engines.open_keras_file`.

    Raises:
        ModelError: there is no such file, it is not a model of this project, or the engine cannot
            run it.
    """
    path = Path(path)
    exported = _NETWORKS.get(path.suffix)
    network = exported(path) if exported else open_keras_file(path, engine)
    try:
        return Classifier(network, path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _flips_and_rotations(images: np.ndarray) -> list[np.ndarray]:
    """Return the eight views of square images that keep all pixels: a lesion has no upright side.

    Args:
        images: `[images, size, size, channels]`.

    Returns:
        Eight contiguous arrays of the same shape, the images themselves first.
    """
    rotated = [np.rot90(images, quarters, axes=(1, 2)) for quarters in range(4)]
    flipped = [view[:, :, ::-1] for view in rotated]
    return [np.ascontiguousarray(view) for view in rotated + flipped]
