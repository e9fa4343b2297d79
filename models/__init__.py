"""From a name to a trained, self-describing model."""

MODEL_NAMES = ("sequential", "mobilenet", "efficientnet", "convnext", "vit")
# How the file for the phone may keep its numbers.
QUANTIZATIONS = ("float32", "float16", "int8")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether Python or TensorFlow, which is not loaded for this, found no memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


class ModelError(ValueError):
    """A model or its weights cannot be used; the message says what to do."""


class WeightsUnavailableError(ModelError):
    """Pre-trained weights are neither in Keras's cache nor to be downloaded."""


class DivergedError(ModelError):
    """A training's loss is no longer a number."""


def model_defaults(name: str) -> dict[str, int]:
    """Return what a model sets that is not asked for: `image_size` and `fine_tune_layers`.

    Args:
        name: one of `MODEL_NAMES`; `sequential`, which has no backbone, sets nothing.
    """
    if name == "sequential":
        return {}
    from models.transfer import BACKBONES

    entry = BACKBONES[name]
    return {"image_size": entry.image_size, "fine_tune_layers": entry.fine_tune_layers}


def build_model(
    name: str,
    *,
    image_size: int,
    class_names: tuple[str, ...],
    weights: str = "none",
    dropout: float = 0.3,
    batch_norm_momentum: float = 0.999,
    mixed_precision: bool = False,
):
    """Build a model by name.

    Args:
        name: one of `MODEL_NAMES`.
        image_size: side of the input, pixels.
        class_names: of the outputs, in order.
        weights: start of the backbone: `imagenet`, `none`, or the path of a weights file.
        dropout: share of features dropped before the last layer, in [0, 1).
        batch_norm_momentum: share of the old value when the backbone's BatchNorm updates its
            running statistics.
        mixed_precision: whether all but the head computes in float16; weights stay float32, and so
            does a saved model in all.

    Returns:
        A `keras.Model` from pixels 0..255, `[batch, image_size, image_size, 3]`, to
        probabilities, float32 `[batch, classes]`, with its description inside.

    Raises:
        WeightsUnavailableError: the ImageNet weights are not to be had.
        ModelError: unknown name, or the weights cannot be used.
    """
    if name not in MODEL_NAMES:
        raise ModelError(f"unknown model {name!r}; choose from {', '.join(MODEL_NAMES)}")
    if name == "sequential":
        if weights != "none":
            raise ModelError(
                f"sequential starts from random weights, received --weights {weights}; leave "
                "--weights out, or choose --model mobilenet"
            )
        from models.backend import precision
        from models.sequential import build_sequential

        with precision(mixed_precision):
            return build_sequential(image_size=image_size, class_names=class_names, dropout=dropout)
    from models.backend import precision
    from models.transfer import build_transfer

    with precision(mixed_precision):
        return build_transfer(
            name,
            image_size=image_size,
            class_names=class_names,
            weights=weights,
            dropout=dropout,
            batch_norm_momentum=batch_norm_momentum,
        )
