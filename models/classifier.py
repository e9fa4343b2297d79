"""The one way to ask a model, whether its file is `.keras` or `.tflite`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from models import ModelError
from models.bundle import get_description, load_model
from models.calibration import at_temperature_one
from models.description import Description
from models.grad_cam import Explainer
from models.novelty import read_detector
from models.photographs import score_photographs
from models.tflite import TFLiteModel


@dataclass(frozen=True)
class Predictions:
    """The predictions for a batch of images, which may be empty.

    Attributes:
        y_prob: float32 `[images, classes]`, rows that sum to 1.
        uncalibrated: float64 `[images, classes]`, the same at temperature 1.
        uncertain: bool `[images]`, whether the confidence is below the threshold of the model; None
            if it has no threshold.
        out_of_distribution: bool `[images]`, whether the score of the model's detector, or that of
            photographs without a dermatoscope, is above its threshold; None if the model has
            neither threshold.
    """

    y_prob: np.ndarray
    uncalibrated: np.ndarray
    uncertain: np.ndarray | None
    out_of_distribution: np.ndarray | None

    @property
    def class_indices(self) -> np.ndarray:
        """Index of the predicted class, int `[images]`."""
        return self.y_prob.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, float32 `[images]`."""
        return self.y_prob.max(axis=1)


def join_predictions(batches: Sequence[Predictions]) -> Predictions:
    """Join the predictions of one model for several batches, at least one."""

    def join(name: str) -> np.ndarray | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else np.concatenate(parts)

    return Predictions(**{field.name: join(field.name) for field in fields(Predictions)})


class Classifier:
    """Predicts and explains the class of images; for one thread at a time.

    Args:
        model: from `build_model` or `load_model`, or a `TFLiteModel`.
        path: the file that it was loaded from, None for a model in memory.

    Attributes:
        model: as given.
        path: as given.
        description: of the model.
        can_explain: whether it has features and heat maps; False for a `.tflite` file.
        detector: of out-of-distribution images; None if the model has none.

    Raises:
        ModelError: the model has no description, no layer `logits`, or a broken detector.
    """

    def __init__(self, model: keras.Model | TFLiteModel, path: Path | None = None) -> None:
        self.model, self.path = model, path
        self.can_explain = not isinstance(model, TFLiteModel)
        self.detector = None
        if not self.can_explain:
            self.description: Description = model.description
            self._count = 0
            return
        self.description = get_description(model)
        if "logits" not in {layer.name for layer in model.layers}:
            raise ModelError(
                "expected a model whose last Dense layer is named logits, found no such layer; "
                "train the model again"
            )
        features = model.get_layer("logits").input
        self._count = features.shape[-1]
        self._network = keras.Model(model.inputs, [model.outputs[0], features])
        self.detector = read_detector(self.description.detector, features=self._count)

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
        uncertain = None
        if self.description.confidence_threshold is not None:
            # As float64, to compare with the exact threshold.
            confidence = y_prob.max(axis=1).astype(np.float64)
            uncertain = confidence < self.description.confidence_threshold
        return Predictions(
            y_prob=y_prob,
            uncalibrated=at_temperature_one(by_view, self.description.temperature).mean(axis=0),
            uncertain=uncertain,
            out_of_distribution=self._find_unfamiliar(images, outputs[0][1]),
        )

    def warnings(self, predictions: Predictions) -> list[dict[str, str]]:
        """Return the warnings for each image of a batch; see `warning_texts`."""
        unknown = np.zeros(len(predictions.y_prob), bool)
        columns = (
            predictions.confidence,
            unknown if predictions.uncertain is None else predictions.uncertain,
            unknown if predictions.out_of_distribution is None else predictions.out_of_distribution,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [warning_texts(*row, self.description) for row in rows]

    def malignant_probability(self, predictions: Predictions) -> np.ndarray | None:
        """Return the summed probability of the malignant and premalignant classes of each image.

        Args:
            predictions: for a batch.

        Returns:
            float32 `[images]`, 0..1; None if the model does not know which classes are malignant.
        """
        names, malignant = self.description.class_names, self.description.malignant
        if not malignant:
            return None
        columns = [names.index(name) for name in malignant]
        return predictions.y_prob[:, columns].sum(axis=1).clip(0, 1)

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and pooled features, the input of the last layer, in one pass.

        Args:
            images: uint8 or float32 `[images, image_size, image_size, 3]`, 0..255; may be empty.

        Returns:
            float32 `[images, classes]` and float32 `[images, features]`.

        Raises:
            ModelError: the model is a `.tflite` file.
        """
        self._require_keras("features")
        return self._predict(images)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Return the pooled features alone; see `read`."""
        return self.read(images)[1]

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM heat maps; see `models.grad_cam.Explainer`.

        Args:
            images: uint8 or float32 `[images, image_size, image_size, 3]`, 0..255; may be empty.
            class_indices: int `[images]`, the class to explain for each image.

        Returns:
            float32 `[images, image_size, image_size]` in 0..1.

        Raises:
            ModelError: the model is a `.tflite` file.
        """
        self._require_keras("heat maps")
        if len(images) == 0:
            return np.zeros(images.shape[:3], np.float32)
        return self._explainer(images, class_indices)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model)

    def _require_keras(self, what: str) -> None:
        if not self.can_explain:
            raise ModelError(
                f"{self.path or 'a .tflite model'}: expected a .keras file, which gives {what}, "
                "received a .tflite file; use the .keras file that it was exported from"
            )

    def _find_unfamiliar(self, images: np.ndarray, features: np.ndarray) -> np.ndarray | None:
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

    def _predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features of one view; a `.tflite` file has no features."""
        if len(images) == 0:
            shapes = (0, len(self.description.class_names)), (0, self._count)
            return np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32)
        if self.can_explain:
            y_prob, features = self._network.predict_on_batch(images)
            return np.asarray(y_prob), np.asarray(features)
        return self.model.predict_on_batch(images), np.zeros((len(images), 0), np.float32)


def load_classifier(path: str | os.PathLike) -> Classifier:
    """Load a model file.

    Args:
        path: a file ending in `.tflite`, or else a `.keras` file.

    Raises:
        ModelError: there is no such file, or it is not a model of this project.
    """
    path = Path(path)
    model = TFLiteModel(path) if path.suffix == ".tflite" else load_model(path)
    try:
        return Classifier(model, path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def warning_texts(
    confidence: float, uncertain: bool, out_of_distribution: bool, description: Description
) -> dict[str, str]:
    """Return what a reader of a prediction should know.

    Args:
        confidence: of the prediction, in 0..1.
        uncertain: from `Predictions`.
        out_of_distribution: from `Predictions`.
        description: of the model.

    Returns:
        Sentences by kind: `out_of_distribution`, first, since it makes the prediction meaningless,
        and `uncertain`; empty if there is nothing to warn about.
    """
    texts = {}
    if out_of_distribution:
        texts["out_of_distribution"] = (
            "Does not look like a dermatoscopic image, so the prediction means nothing. The model "
            "predicts one of its classes for any image."
        )
    if uncertain:
        accuracy = f"{100 * description.threshold_accuracy:.0f} %"
        threshold = description.confidence_threshold
        texts["uncertain"] = f"Low confidence ({100 * confidence:.0f} %). " + (
            f"On validation images, predictions above {100 * threshold:.0f} % were correct "
            f"{accuracy} of the time."
            if threshold < 1
            else f"On validation images, no confidence was high enough for {accuracy} correct "
            "predictions."
        )
    return texts


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
