"""Any network of `keras.applications`, by the name of its constructor; without TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models import ModelError
from models.backbones import (
    BACKBONES,
    IMAGENET_OFFSET,
    IMAGENET_SCALE,
    KERAS_URL,
    MODEL_NAMES,
    Backbone,
)

# Before the name of a constructor.
PREFIX = "keras:"
_KERNELS = "{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_NO_PREPROCESSING = {"include_preprocessing": False}
# The networks without BatchNorm forget their pretraining at higher rates than this backbone has.
_LIKE_CONVNEXT = "convnext"


@dataclass(frozen=True)
class _Scaling:
    """What happens to pixels; see `Backbone`. The names are those of Keras."""

    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    swaps_channels: bool = False


_TF = _Scaling(1 / 127.5, -1.0)
_TORCH = _Scaling(IMAGENET_SCALE, IMAGENET_OFFSET)
# Means of ImageNet, in the order RGB; the networks take BGR.
_CAFFE = _Scaling(1.0, (-123.68, -116.779, -103.939), swaps_channels=True)
# EfficientNet divides by 255 itself.
_TORCH_255 = _Scaling(
    tuple(255 * scale for scale in IMAGENET_SCALE),
    tuple(255 * offset for offset in IMAGENET_OFFSET),
)


@dataclass(frozen=True)
class _Family:
    """Networks that differ in their size.

    Attributes:
        scaling: of the pixels.
        weights: ImageNet weights without the head, a URL or below `KERAS_URL`; `{name}` is a name
            below.
        names: what the weights call each constructor.
        cached: name of the weights in Keras's cache; by default the end of the URL.
        options: as for `Backbone`.
        min_size: as for `Backbone`.
        presets_of: as for `Backbone`.
        weights_sizes: as for `Backbone`.
    """

    scaling: _Scaling
    weights: str
    names: Mapping[str, str]
    cached: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    min_size: int = 32
    presets_of: str | None = None
    weights_sizes: tuple[int, ...] = (224,)


_FAMILIES = (
    _Family(
        _TORCH,
        "convnext/{name}_notop.h5",
        # The weights of ConvNeXtXLarge, 1.4 GB, are more than a model file may hold.
        {
            f"ConvNeXt{size}": f"convnext_{size.lower()}"
            for size in ("Tiny", "Small", "Base", "Large")
        },
        options=_NO_PREPROCESSING,
        presets_of=_LIKE_CONVNEXT,
    ),
    _Family(
        _TORCH,
        f"densenet/{_KERNELS}",
        {f"DenseNet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    ),
    _Family(
        _TORCH_255,
        "https://storage.googleapis.com/keras-applications/efficientnet{name}_notop.h5",
        {f"EfficientNetB{i}": f"b{i}" for i in range(8)},
    ),
    _Family(
        _TORCH,
        "efficientnet_v2/efficientnetv2-{name}_notop.h5",
        {f"EfficientNetV2B{i}": f"b{i}" for i in range(4)},
        options=_NO_PREPROCESSING,
    ),
    _Family(
        _Scaling(1 / 128, -1.0),
        "efficientnet_v2/efficientnetv2-{name}_notop.h5",
        {f"EfficientNetV2{size}": size.lower() for size in "SML"},
        options=_NO_PREPROCESSING,
    ),
    _Family(
        _TF,
        f"inception_resnet_v2/{_KERNELS}",
        {"InceptionResNetV2": "inception_resnet_v2"},
        min_size=75,
    ),
    _Family(_TF, f"inception_v3/{_KERNELS}", {"InceptionV3": "inception_v3"}, min_size=75),
    _Family(
        _TF,
        "mobilenet/mobilenet_1_0_{size}_tf_no_top.h5",
        {"MobileNet": ""},
        weights_sizes=(128, 160, 192, 224),
    ),
    _Family(
        _TF,
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5",
        {"MobileNetV2": ""},
        weights_sizes=(96, 128, 160, 192, 224),
    ),
    _Family(
        _TF,
        "mobilenet_v3/weights_mobilenet_v3_{name}_224_1.0_float_no_top_v2.h5",
        {"MobileNetV3Small": "small", "MobileNetV3Large": "large"},
        options=_NO_PREPROCESSING,
    ),
    _Family(
        _TF,
        "nasnet/NASNet-{name}-no-top.h5",
        {"NASNetMobile": "mobile", "NASNetLarge": "large"},
        cached="nasnet_{name}_no_top.h5",
    ),
    _Family(
        _CAFFE,
        f"resnet/{_KERNELS}",
        {f"ResNet{depth}": f"resnet{depth}" for depth in (50, 101, 152)},
    ),
    _Family(
        _TF,
        f"resnet/{_KERNELS}",
        {f"ResNet{depth}V2": f"resnet{depth}v2" for depth in (50, 101, 152)},
    ),
    _Family(_CAFFE, f"vgg16/{_KERNELS}", {"VGG16": "vgg16"}, presets_of=_LIKE_CONVNEXT),
    _Family(_CAFFE, f"vgg19/{_KERNELS}", {"VGG19": "vgg19"}, presets_of=_LIKE_CONVNEXT),
    _Family(_TF, f"xception/{_KERNELS}", {"Xception": "xception"}, min_size=71),
)


def _make_backbone(family: _Family, application: str, name: str) -> Backbone:
    is_url = family.weights.startswith("https:")
    return Backbone(
        application,
        application,
        scale=family.scaling.scale,
        offset=family.scaling.offset,
        swaps_channels=family.scaling.swaps_channels,
        weights_url=("" if is_url else KERAS_URL) + family.weights.replace("{name}", name),
        weights_name=family.cached and family.cached.replace("{name}", name),
        weights_sizes=family.weights_sizes,
        options=family.options,
        min_size=family.min_size,
        presets_of=family.presets_of,
    )


# By the name of the model.
APPLICATIONS: dict[str, Backbone] = {
    PREFIX + application: _make_backbone(family, application, name)
    for family in _FAMILIES
    for application, name in family.names.items()
}


def is_model_name(name: str) -> bool:
    """Tell whether `build_model` knows a name."""
    return name in MODEL_NAMES or name in APPLICATIONS


def check_model_name(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        ModelError: with the names that are near.
    """
    if is_model_name(name):
        return
    by_key = {known.rpartition(":")[2].lower(): known for known in (*APPLICATIONS, *MODEL_NAMES)}
    near = difflib.get_close_matches(name.rpartition(":")[2].lower(), by_key, n=3, cutoff=0.7)
    meant = f" (near: {', '.join(by_key[key] for key in near)})" if near else ""
    raise ModelError(
        f"expected a model of {', '.join(MODEL_NAMES)}, or {PREFIX}NAME for a network of "
        f"keras.applications such as {PREFIX}ResNet50V2, received {name!r}{meant}"
    )


def find_backbone(name: str) -> Backbone | None:
    """Return the backbone of a model; None for the model `sequential`, which has none.

    Args:
        name: of the model, a known one.
    """
    return BACKBONES.get(name) or APPLICATIONS.get(name)


def model_presets(name: str) -> Mapping[str, Any]:
    """Return the defaults of settings that depend on the model; empty for an unknown one.

    Args:
        name: of the model.
    """
    backbone = find_backbone(name)
    if backbone is None:
        return {}
    return {"image_size": backbone.image_size, "fine_tune_layers": backbone.fine_tune_layers}
