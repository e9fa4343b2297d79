"""Probabilities for many images."""

import keras
import numpy as np


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
