"""What every kind of model file gives: probabilities and features."""

from __future__ import annotations

import numpy as np

from models.description import Description


class Network:
    """Gives probabilities and pooled features; for one thread at a time.

    There is one subclass for each kind of model file.

    Attributes:
        kind: what messages call its file, such as `.keras`.
        engine: what computes it, with its version, for display.
        can_explain: whether there are heat maps, see `explain`.
        description: of the model.
        feature_count: number of features of an image; 0 if the network gives none.
    """

    kind: str
    engine: str
    can_explain = False
    description: Description
    feature_count: int

    def predict_on_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the network gives for a batch.

        Args:
            images: uint8 `[images, image_size, image_size, 3]`, 0..255, at least one.

        Returns:
            Probabilities, float32 `[images, classes]`, rows that sum to 1, and pooled features,
            the input of the last layer, float32 `[images, feature_count]`.

        Raises:
            ValueError: the images have another type or shape.
        """
        raise NotImplementedError

    def prepare_explanations(self) -> None:
        """Make the first call of `explain` as quick as the others; may go on in the background."""

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM heat maps; see `models.grad_cam.Explainer`."""
        raise NotImplementedError


def check_pixels(images: np.ndarray, image_size: int) -> None:
    """Refuse a batch that a converted model cannot take.

    Raises:
        ValueError: the images are not uint8, or have another shape.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (image_size, image_size, 3):
        raise ValueError(
            f"images should be uint8 [images, {image_size}, {image_size}, 3], received "
            f"{images.dtype} {list(images.shape)}"
        )
