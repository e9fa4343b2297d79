"""Probabilities for many images."""

import keras
import numpy as np


def predict_probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return a model's probabilities for a batch.

    Args:
        model: from `models.bundle.load_model`.
        images: uint8 or float32 `[batch, image_size, image_size, 3]`, 0..255; may be empty.

    Returns:
        float32 `[batch, classes]`, rows that sum to 1.
    """
    if len(images) == 0:
        return np.zeros((0, model.output_shape[-1]), np.float32)
    return np.asarray(model.predict_on_batch(images))
