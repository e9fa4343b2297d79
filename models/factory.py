"""From a name to a model."""

from __future__ import annotations

import keras

from models import ModelError
from models.applications import check_model_name
from models.backend import precision
from models.sequential import build_sequential
from models.transfer import build_transfer


def build_model(
    name: str,
    *,
    image_size: int,
    class_names: tuple[str, ...],
    weights: str | None = None,
    dropout: float = 0.3,
    batch_norm_momentum: float = 0.999,
    mixed_precision: bool = False,
) -> keras.Model:
    """Build a model by name.

    Args:
        name: one of `models.backbones.MODEL_NAMES`, or `keras:NAME` for any network of
            `keras.applications`.
        image_size: side length of the input, pixels.
        class_names: of the outputs, in order.
        weights: initial weights of the backbone: `imagenet`, the path of a weights file, or None
            for random weights.
        dropout: fraction of features dropped before the last layer, in [0, 1).
        batch_norm_momentum: of the running statistics in the backbone's BatchNormalization.
        mixed_precision: whether all layers but the head compute in float16; weights stay float32,
            and a saved model computes in float32.

    Returns:
        A model from pixels 0..255, `[batch, image_size, image_size, 3]`, to probabilities,
        float32 `[batch, classes]`, with its description inside.

    Raises:
        WeightsUnavailableError: the ImageNet weights cannot be loaded or downloaded.
        ModelError: the name is unknown, or the weights cannot be used.
    """
    check_model_name(name)
    if name == "sequential" and weights is not None:
        raise ModelError(
            f"expected no initial weights for the model sequential, received {weights}; start from "
            "random weights, or choose a model with a backbone"
        )
    with precision(mixed_precision):
        if name == "sequential":
            return build_sequential(image_size=image_size, class_names=class_names, dropout=dropout)
        return build_transfer(
            name,
            image_size=image_size,
            class_names=class_names,
            weights=weights,
            dropout=dropout,
            batch_norm_momentum=batch_norm_momentum,
        )
