"""Probabilities for many images."""

import keras
import numpy as np

from models import ModelError


class FeatureReader:
    """Gives a model's probabilities and its pooled features, the last layer's input, in one pass.

    Args:
        model: from `build_model` or `models.bundle.load_model`.

    Raises:
        ModelError: the model has no layer named `logits`.
    """

    def __init__(self, model: keras.Model) -> None:
        if "logits" not in {layer.name for layer in model.layers}:
            raise ModelError(f"{model.name} should have a last layer named logits; train it again")
        features = model.get_layer("logits").input
        self.count = features.shape[-1]
        self._model = keras.Model(model.inputs, [model.outputs[0], features])

    def __call__(self, images: np.ndarray, *, tta: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Ask for a batch.

        Args:
            images: uint8 or float32 `[batch, image_size, image_size, 3]`, 0..255; may be empty.
            tta: see `predict_probabilities`; the features are those of the images as they are.

        Returns:
            float32 `[batch, classes]`, rows that sum to 1, and float32 `[batch, features]`.
        """
        if len(images) == 0:
            classes = self._model.outputs[0].shape[-1]
            return np.zeros((0, classes), np.float32), np.zeros((0, self.count), np.float32)
        views = eight_views(images) if tta else [images]
        answers = [self._model.predict_on_batch(view) for view in views]
        y_prob = np.stack([np.asarray(answer[0]) for answer in answers]).mean(axis=0)
        return y_prob, np.asarray(answers[0][1])


def predict_probabilities(
    model: keras.Model, images: np.ndarray, *, tta: bool = False
) -> np.ndarray:
    """Return a model's probabilities for a batch.

    Args:
        model: from `models.bundle.load_model`.
        images: uint8 or float32 `[batch, image_size, image_size, 3]`, 0..255; may be empty.
        tta: test-time augmentation: the mean over `eight_views`, at eight times the cost.

    Returns:
        float32 `[batch, classes]`, rows that sum to 1.
    """
    return predict_views(model, images, tta=tta).mean(axis=0)


def predict_views(model: keras.Model, images: np.ndarray, *, tta: bool) -> np.ndarray:
    """Return a model's probabilities for each view of a batch.

    Args:
        model: from `models.bundle.load_model`.
        images: uint8 or float32 `[batch, image_size, image_size, 3]`, 0..255; may be empty.
        tta: whether there are eight views or only the picture as it is.

    Returns:
        float32 `[views, batch, classes]`.
    """
    views = eight_views(images) if tta else [images]
    if len(images) == 0:
        return np.zeros((len(views), 0, model.output_shape[-1]), np.float32)
    return np.stack([np.asarray(model.predict_on_batch(view)) for view in views])


def eight_views(images: np.ndarray) -> list[np.ndarray]:
    """Turn and mirror square pictures in all ways that keep the pixels: dermatoscopy has no up.

    Args:
        images: `[batch, side, side, channels]`.

    Returns:
        Eight arrays of the same shape, the first of them the images.
    """
    turned = [np.rot90(images, quarter, axes=(1, 2)) for quarter in range(4)]
    return [np.ascontiguousarray(view) for view in turned + [view[:, :, ::-1] for view in turned]]
