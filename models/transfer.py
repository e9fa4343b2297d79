"""A classifier on a pretrained backbone, and which of its layers are fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from models import ModelError, WeightsUnavailableError
from models.applications import find_backbone
from models.backbones import Backbone
from models.backend import import_keras_hub
from models.bundle import HEAD, ClassProbabilities, update_description
from models.efficientnet_lite import build_efficientnet_lite0
from models.weights import fetch_weights, load_weights

# Name of the layer that holds the backbone.
BACKBONE = "backbone"
# Constructors that keras.applications does not have.
_OWN = {"EfficientNetLite0": build_efficientnet_lite0}


def build_transfer(
    name: str,
    *,
    image_size: int,
    class_names: tuple[str, ...],
    weights: str | None,
    dropout: float,
    batch_norm_momentum: float,
) -> keras.Model:
    """Build a classifier on a pretrained backbone.

    The head averages the features over the image. For a transformer these are the patch tokens,
    without the class token: this is at least as accurate where it was measured (Beyer et al.,
    *Better plain ViT baselines for ImageNet-1k*, 2022, arXiv:2205.01580), and each patch token
    belongs to a region of the image, which Grad-CAM needs. The head computes in float32, whatever
    the precision of the backbone.

    Args:
        name: of a model with a backbone, see `models.applications.find_backbone`.
        image_size: side length of the input, pixels; at least the `min_size` of the backbone.
        class_names: of the outputs, in order.
        weights: `imagenet`, the path of a file of backbone weights, or None for random weights.
        dropout: fraction of features dropped before the last layer, in [0, 1).
        batch_norm_momentum: of the running statistics in the backbone's BatchNormalization.

    Returns:
        A model from pixels 0..255, `[batch, image_size, image_size, 3]`, to probabilities, with
        all layers trainable; see `unfreeze`.

    Raises:
        WeightsUnavailableError: the ImageNet weights cannot be loaded or downloaded.
        ModelError: the weights file cannot be used, or the backbone cannot be built.
    """
    entry = find_backbone(name)
    backbone = _build_backbone(entry, image_size, weights)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(entry.scale, offset=entry.offset, dtype="float32")(inputs)
    if entry.swaps_channels:
        x = _swap_channels(x)
    x = backbone(x)
    if entry.extra_tokens is not None:
        x = layers.Cropping1D((entry.extra_tokens, 0))(x)
        grid_size = round(x.shape[1] ** 0.5)
        x = layers.Reshape((grid_size, grid_size, x.shape[2]))(x)
    x = layers.GlobalAveragePooling2D(name="pooling", dtype="float32")(x)
    x = layers.Dropout(dropout, dtype="float32")(x)
    x = layers.Dense(len(class_names), name=HEAD, dtype="float32")(x)
    description = {"model": name, "class_names": class_names, "image_size": image_size}
    outputs = ClassProbabilities(description, name="probabilities", dtype="float32")(x)
    # TensorFlow takes no colon.
    return keras.Model(inputs, outputs, name=name.replace(":", "_"))


def at_size(model: keras.Model, image_size: int) -> keras.Model:
    """Return a copy of a model, weights included, for images of another size.

    Args:
        model: from `build_transfer`, with a convolutional backbone.
        image_size: side length of the new input, pixels.

    Returns:
        A model with weights of its own, not compiled, whose description has the new size.
    """
    old_shape = (None, *model.input_shape[1:])
    new_shape = (None, image_size, image_size, old_shape[-1])

    def resize(item):
        if isinstance(item, dict):
            if item.get("class_name") == "Sequential":
                item = _without_shapes(item)
            return {key: resize(value) for key, value in item.items()}
        if isinstance(item, list | tuple):
            if tuple(item) == old_shape:
                return new_shape
            return type(item)(resize(value) for value in item)
        return item

    config = resize(model.get_config())
    with model.distribute_strategy.scope():
        copy = model.__class__.from_config(config)
    copy.set_weights(model.get_weights())
    update_description(copy, image_size=image_size)
    return copy


def _without_shapes(sequential: dict) -> dict:
    """Return the configuration of a part of a backbone without the size of its input.

    A `keras.Sequential` without it is built when it is called. ConvNeXt has such parts.
    """
    config = {k: v for k, v in sequential["config"].items() if k != "build_input_shape"}
    config["layers"] = [x for x in config["layers"] if x["class_name"] != "InputLayer"]
    return {**sequential, "config": config, "build_config": None}


def unfreeze(model: keras.Model, count: int, *, batch_norm_trains: bool = False) -> None:
    """Choose which layers of the backbone are trained; the head always is.

    Args:
        model: from `build_transfer`.
        count: number of final backbone layers to train; 0 for none, -1 for all. A transformer
            block counts as one layer.
        batch_norm_trains: whether BatchNormalization among these layers trains its scale and
            offset, and uses and updates batch statistics; else it stays in inference mode.

    Raises:
        ModelError: the backbone has fewer layers.
    """
    backbone = model.get_layer(BACKBONE)
    parts = []
    for layer in backbone.layers:
        blocks = getattr(layer, "encoder_layers", None)
        parts += [*blocks, layer.layer_norm] if blocks else [layer]
    total = len(parts)
    if not -1 <= count <= total:
        raise ModelError(
            f"expected 0 to {total} backbone layers to fine-tune, or -1 for all, received {count}"
        )
    first = 0 if count == -1 else total - count
    backbone.trainable = True
    for i, layer in enumerate(parts):
        # Only trainable=False keeps BatchNormalization in inference mode: fit() overrides the
        # training=False of a call when the model was built (keras issue 20285).
        frozen = isinstance(layer, layers.BatchNormalization) and not batch_norm_trains
        layer.trainable = i >= first and not frozen


def _swap_channels(x: keras.KerasTensor) -> keras.KerasTensor:
    """Turn RGB into BGR, with a layer that any format of a model has."""
    swap = layers.Conv2D(
        3, 1, use_bias=False, trainable=False, name="swap_channels", dtype="float32"
    )
    x = swap(x)
    swap.set_weights([np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)])
    return x


def _build_backbone(entry: Backbone, image_size: int, weights: str | None) -> keras.Model:
    # The weights of a transformer fit one image size: load them at that size, then resize.
    load_size = image_size if entry.takes_any_size or weights is None else entry.image_size
    backbone = _build_network(entry, load_size)
    if weights == "imagenet":
        _load_imagenet(backbone, entry, image_size)
    elif weights is not None:
        load_weights(backbone, weights, entry.title)
    for layer in backbone.layers:
        if isinstance(layer, layers.Normalization):
            # EfficientNet has one, whose weights in the file are for pixels that are not scaled.
            mean, variance, count = layer.get_weights()
            layer.set_weights([np.zeros_like(mean), np.ones_like(variance), count])
            layer.finalize_state()
    if load_size != image_size:
        source, backbone = backbone, _build_network(entry, image_size)
        copy_resized(source.weights, backbone.weights, entry.extra_tokens)
    if isinstance(backbone, keras.Model) and type(backbone).__name__ == "Functional":
        # Some constructors of keras.applications take no name.
        return keras.Model(backbone.inputs, backbone.outputs[0], name=BACKBONE)
    backbone.name = BACKBONE
    return backbone


def _build_network(entry: Backbone, image_size: int) -> keras.Model:
    """Return the network without head and with random weights, from scaled pixels to features."""
    if image_size < entry.min_size:
        raise ModelError(
            f"expected an image size of at least {entry.min_size} for {entry.title}, received "
            f"{image_size}"
        )
    shape = (image_size, image_size, 3)
    if entry.application in _OWN:
        return _OWN[entry.application](shape)
    if entry.application is not None:
        build = getattr(keras.applications, entry.application)
        return build(input_shape=shape, include_top=False, weights=None, **entry.options)
    if image_size % 16:
        raise ModelError(
            f"expected an image size that is a multiple of 16 for {entry.title}, received "
            f"{image_size}"
        )
    return import_keras_hub(f"the model {entry.title}").models.DeiTBackbone(
        image_shape=shape,
        patch_size=16,
        num_layers=12,
        num_heads=6,
        hidden_dim=384,
        intermediate_dim=1536,
    )


def _load_imagenet(backbone: keras.Model, entry: Backbone, image_size: int) -> None:
    url, file_name = entry.find_weights(image_size)
    path = fetch_weights(url, file_name, commands=entry.weights_commands)
    try:
        load_weights(backbone, path, entry.title)
    except ModelError as error:
        raise WeightsUnavailableError(f"{error}; delete the file, and start again") from error


def copy_resized(
    source: Sequence[keras.Variable], target: Sequence[keras.Variable], extra_tokens: int
) -> None:
    """Copy weights; those of a transformer may be for another image size.

    The position embeddings form a grid, which is resized: Dosovitskiy et al., *An Image is Worth
    16x16 Words* (2021), arXiv:2010.11929, section 3.2.

    Args:
        source: the weights.
        target: as many; only position embeddings have another shape.
        extra_tokens: position embeddings before those of the grid.
    """
    for old, new in zip(source, target, strict=True):
        if old.shape == new.shape:
            new.assign(old)
            continue
        tokens, patches = old[:, :extra_tokens], old[:, extra_tokens:]
        before, after = (round((v.shape[1] - extra_tokens) ** 0.5) for v in (old, new))
        grid = keras.ops.reshape(patches, (1, before, before, -1))
        grid = keras.ops.image.resize(grid, (after, after), interpolation="bicubic")
        patches = keras.ops.reshape(grid, (1, after * after, -1))
        new.assign(keras.ops.concatenate([tokens, patches], axis=1))
