"""A Keras model as a network that gives probabilities, features and heat maps."""

from __future__ import annotations

from functools import cached_property

import keras
import numpy as np

from models.bundle import add_features, get_description
from models.fused_layers import fuse_layers
from models.grad_cam import Explainer
from models.network import Network


class KerasNetwork(Network):
    """Runs a Keras model; it also takes float32 images.

    Args:
        model: from `build_model` or `load_model`; its layers are fused.

    Attributes:
        model: as given.
        with_features: the same with two outputs, see `add_features`.

    Raises:
        ModelError: the model has no description, or no layer `logits`.
    """

    kind = ".keras"
    can_explain = True

    def __init__(self, model: keras.Model) -> None:
        self.description, self.engine = get_description(model), f"Keras {keras.__version__}"
        fuse_layers(model)
        self.model, self.with_features = model, add_features(model)
        self.feature_count = self.with_features.outputs[1].shape[-1]

    def predict_on_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features; see `Network`."""
        y_prob, features = self.with_features.predict_on_batch(images)
        return np.asarray(y_prob), np.asarray(features)

    def prepare_explanations(self) -> None:
        """Build what `explain` needs; see `Network`."""
        size = self.description.image_size
        self.explain(np.zeros((1, size, size, 3), np.uint8), np.zeros(1, np.int64))

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM heat maps; see `models.grad_cam.Explainer`."""
        return self._explainer(images, class_indices)

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.model)
