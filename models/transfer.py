"""Pre-trained backbones behind one builder, and which of their layers learn."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from models import ModelError, WeightsUnavailableError
from models.bundle import ClassProbabilities, first_line, import_keras_hub
from models.weights import fetch_weights

BACKBONE = "backbone"

_SITE = "https://storage.googleapis.com/tensorflow/keras-applications/"
_KAGGLE = "https://www.kaggle.com/api/v1/models/keras/"
# Means and standard deviations of ImageNet's pixels.
_IMAGENET_SCALE = tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225))
_IMAGENET_OFFSET = (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)


@dataclass(frozen=True)
class Backbone:
    """What is known of a pre-trained backbone.

    Attributes:
        title: its name in the literature.
        builder: takes the side of the pictures, returns the bare network with random weights,
            from scaled pixels to features, `[batch, height, width, channels]` or, of a transformer,
            `[batch, tokens, channels]`.
        scale, offset: what its pixels are multiplied by, and what is added then; for each colour
            or for all.
        weights_url: of its ImageNet weights without top; `{side}` stands for the side.
        image_size: side of the pictures unless one is asked for.
        fine_tune_layers: how many of its last layers learn after the head, -1 all.
        weights_name: name of the file in Keras's cache, where it is not the end of the URL.
        weights_sides: sides that have weights of their own; the last serves all others.
        extra_tokens: tokens before those of the patches; None for a network of convolutions, which
            takes pictures of any size. A transformer's position embeddings belong to one.
    """

    title: str
    builder: Callable[[int], keras.Model]
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    weights_url: str
    image_size: int = 224
    fine_tune_layers: int = -1
    weights_name: str | None = None
    weights_sides: tuple[int, ...] = (224,)
    extra_tokens: int | None = None

    @property
    def takes_any_size(self) -> bool:
        """Whether one set of weights serves pictures of any size as they are."""
        return self.extra_tokens is None


def _bare(side: int) -> dict:
    """Return the arguments of keras.applications for a network without head and weights."""
    return {"input_shape": (side, side, 3), "include_top": False, "weights": None}


def _build_deit(side: int) -> keras.Model:
    if side % 16:
        raise ModelError(f"--image_size of vit should be a multiple of 16, received {side}")
    return import_keras_hub("--model vit").models.DeiTBackbone(
        image_shape=(side, side, 3),
        patch_size=16,
        num_layers=12,
        num_heads=6,
        hidden_dim=384,
        intermediate_dim=1536,
    )


BACKBONES: dict[str, Backbone] = {
    # Sandler et al. 2018, arXiv:1801.04381
    "mobilenet": Backbone(
        "MobileNetV2",
        lambda side: keras.applications.MobileNetV2(**_bare(side)),
        scale=1 / 127.5,
        offset=-1.0,
        weights_url=_SITE
        + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{side}_no_top.h5",
        image_size=192,
        fine_tune_layers=126,
        weights_sides=(96, 128, 160, 192, 224),
    ),
    # Tan and Le 2021, arXiv:2104.00298
    "efficientnet": Backbone(
        "EfficientNetV2-B0",
        lambda s: keras.applications.EfficientNetV2B0(**_bare(s), include_preprocessing=False),
        scale=_IMAGENET_SCALE,
        offset=_IMAGENET_OFFSET,
        weights_url=_SITE + "efficientnet_v2/efficientnetv2-b0_notop.h5",
    ),
    # Liu et al. 2022, arXiv:2201.03545
    "convnext": Backbone(
        "ConvNeXt-Tiny",
        lambda s: keras.applications.ConvNeXtTiny(**_bare(s), include_preprocessing=False),
        scale=_IMAGENET_SCALE,
        offset=_IMAGENET_OFFSET,
        weights_url=_SITE + "convnext/convnext_tiny_notop.h5",
    ),
    # DeiT-S, distilled: Touvron et al. 2021, arXiv:2012.12877
    "vit": Backbone(
        "DeiT-S",
        _build_deit,
        scale=_IMAGENET_SCALE,
        offset=_IMAGENET_OFFSET,
        weights_url=_KAGGLE
        + "deit/keras/deit_small_distilled_patch16_224_imagenet/1/download/model.weights.h5",
        weights_name="deit_small_distilled_patch16_224_imagenet.weights.h5",
        extra_tokens=2,
    ),
}


def build_transfer(
    name: str,
    *,
    image_size: int,
    class_names: tuple[str, ...],
    weights: str = "imagenet",
    dropout: float = 0.3,
    batch_norm_momentum: float = 0.999,
) -> keras.Model:
    """Build a classifier on a backbone of `BACKBONES`.

    The head takes the mean of the features over the picture. Of a transformer these are the tokens
    of the patches, without the class token: no worse where it was measured (Beyer et al., *Better
    plain ViT baselines for ImageNet-1k*, 2022, arXiv:2205.01580), and each is a place of the
    picture, which Grad-CAM needs. The head computes in float32, whatever the backbone does.

    Args:
        name: a key of `BACKBONES`.
        image_size: side of the input, pixels; at least 32.
        class_names: of the outputs, in order.
        weights: `imagenet`, `none`, or the path of a backbone weights file without top.
        dropout: share of features dropped before the last layer, in [0, 1).
        batch_norm_momentum: share of the old value when BatchNorm updates its running statistics.

    Returns:
        A model from pixels 0..255, `[batch, image_size, image_size, 3]`, to probabilities,
        all its layers trainable; `unfreeze` chooses among them.

    Raises:
        WeightsUnavailableError: the ImageNet weights are not to be had.
        ModelError: the weights file cannot be used, or the backbone not be built.
    """
    entry = BACKBONES[name]
    backbone = _build_backbone(entry, image_size, weights)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(entry.scale, offset=entry.offset, dtype="float32")(inputs)
    x = backbone(x)
    if entry.extra_tokens is not None:
        x = layers.Cropping1D((entry.extra_tokens, 0))(x)
        side = round(x.shape[1] ** 0.5)
        x = layers.Reshape((side, side, x.shape[2]))(x)
    x = layers.GlobalAveragePooling2D(name="pooling", dtype="float32")(x)
    x = layers.Dropout(dropout, dtype="float32")(x)
    x = layers.Dense(len(class_names), name="logits", dtype="float32")(x)
    description = {"model": name, "class_names": class_names, "image_size": image_size}
    outputs = ClassProbabilities(description, name="probabilities", dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)


def at_size(model: keras.Model, image_size: int) -> keras.Model:
    """Return the same model, weights included, for pictures of another size.

    Args:
        model: its backbone is made of convolutions, which take any size.
        image_size: side of the input, pixels.

    Returns:
        A model with weights of its own, not compiled; its description names the new size.
    """
    config = model.get_config()
    old = (None, *model.input_shape[1:])

    def change(item):
        if isinstance(item, dict):
            return {key: change(value) for key, value in item.items()}
        if isinstance(item, list | tuple):
            if tuple(item) == old:
                return (None, image_size, image_size, old[-1])
            return type(item)(change(value) for value in item)
        return item

    config = change(config)
    config["layers"][-1]["config"]["description"]["image_size"] = image_size
    with model.distribute_strategy.scope():
        other = model.__class__.from_config(config)
    other.set_weights(model.get_weights())
    return other


def unfreeze(model: keras.Model, count: int, *, batch_norm_trains: bool = False) -> None:
    """Choose which layers of the backbone learn; the head always does.

    Args:
        model: from `build_transfer`.
        count: how many of the backbone's last layers learn; 0 none, -1 all. A transformer's blocks
            count as one layer each.
        batch_norm_trains: whether BatchNorm among them uses and updates batch statistics and
            learns its scale and offset; else it stays as it came, in inference mode.

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
        raise ModelError(f"the backbone has {total} layers, --fine_tune_layers asks for {count}")
    first = 0 if count == -1 else total - count
    backbone.trainable = True
    for place, layer in enumerate(parts):
        # Only trainable=False keeps BatchNorm in inference mode: fit() overrides a training=False
        # given when the model was built (keras issue 20285).
        kept = isinstance(layer, layers.BatchNormalization) and not batch_norm_trains
        layer.trainable = place >= first and not kept


def _build_backbone(entry: Backbone, image_size: int, weights: str) -> keras.Model:
    # A transformer's weights file is for its own size.
    own = image_size if entry.takes_any_size or weights == "none" else entry.image_size
    backbone = entry.builder(own)
    if weights == "imagenet":
        _load_imagenet(backbone, entry, image_size)
    elif weights != "none":
        if not Path(weights).is_file():
            raise ModelError(
                f"--weights should be imagenet, none or a weights file, found no file {weights!r}"
            )
        try:
            backbone.load_weights(weights)
        except (ValueError, OSError) as error:
            raise ModelError(
                f"{weights} should hold {entry.title} weights without top: {first_line(error)}"
            ) from error
    if own != image_size:
        source, backbone = backbone, entry.builder(image_size)
        _copy_weights(source, backbone, entry.extra_tokens)
    if isinstance(backbone, keras.Model) and type(backbone).__name__ == "Functional":
        # Some constructors of keras.applications take no name but their own.
        return keras.Model(backbone.inputs, backbone.outputs[0], name=BACKBONE)
    backbone.name = BACKBONE
    return backbone


def _copy_weights(source: keras.Model, target: keras.Model, extra_tokens: int) -> None:
    """Copy a transformer's weights to one for another size of picture.

    Its position embeddings are a picture of their own, which is scaled: Dosovitskiy et al., *An
    Image is Worth 16x16 Words* (2021), arXiv:2010.11929, section 3.2.
    """
    for old, new in zip(source.weights, target.weights, strict=True):
        if old.shape == new.shape:
            new.assign(old)
            continue
        tokens, patches = old[:, :extra_tokens], old[:, extra_tokens:]
        before, after = (round((v.shape[1] - extra_tokens) ** 0.5) for v in (old, new))
        grid = keras.ops.reshape(patches, (1, before, before, -1))
        grid = keras.ops.image.resize(grid, (after, after), interpolation="bicubic")
        patches = keras.ops.reshape(grid, (1, after * after, -1))
        new.assign(keras.ops.concatenate([tokens, patches], axis=1))


def _load_imagenet(backbone: keras.Model, entry: Backbone, image_size: int) -> None:
    side = image_size if image_size in entry.weights_sides else entry.weights_sides[-1]
    url = entry.weights_url.format(side=side)
    path = fetch_weights(url, entry.weights_name or url.rpartition("/")[2])
    try:
        backbone.load_weights(os.fspath(path))
    except (ValueError, OSError) as error:
        raise WeightsUnavailableError(
            f"{path} cannot be read ({first_line(error)}); delete it, so that it is fetched again"
        ) from error
