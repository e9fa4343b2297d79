"""Pre-trained backbones behind one builder, and which of their layers learn."""

import os
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import keras
from keras import layers

from models import ModelError, WeightsUnavailableError
from models.bundle import ClassProbabilities, first_line

BACKBONE = "backbone"
CONNECT_SECONDS = 10

_WEIGHTS_SITE = "https://storage.googleapis.com/tensorflow/keras-applications/"
# keras.applications has files of its own for these sides, and takes the last for all others.
_MOBILENET_SIDES = (96, 128, 160, 192, 224)
_MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{side}_no_top.h5"


def build_transfer(
    name: str,
    *,
    image_size: int,
    class_names: tuple[str, ...],
    weights: str = "imagenet",
    dropout: float = 0.3,
    batch_norm_momentum: float = 0.999,
) -> keras.Model:
    """Build a classifier on a backbone of keras.applications.

    Args:
        name: `mobilenet` (MobileNetV2, Sandler et al. 2018).
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
        ModelError: the weights file cannot be used.
    """
    backbone = _build_mobilenet(image_size, weights)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = backbone(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(len(class_names), name="logits")(x)
    description = {"model": name, "class_names": class_names, "image_size": image_size}
    outputs = ClassProbabilities(description, name="probabilities")(x)
    return keras.Model(inputs, outputs, name=name)


def at_size(model: keras.Model, image_size: int) -> keras.Model:
    """Return the same model, weights included, for pictures of another size.

    Args:
        model: from `build_transfer`; its backbone is made of convolutions, which take any size.
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
    other = model.__class__.from_config(config)
    other.set_weights(model.get_weights())
    return other


def unfreeze(model: keras.Model, count: int, *, batch_norm_trains: bool = False) -> None:
    """Choose which layers of the backbone learn; the head always does.

    Args:
        model: from `build_transfer`.
        count: how many of the backbone's last layers learn; 0 none, -1 all.
        batch_norm_trains: whether BatchNorm among them uses and updates batch statistics and
            learns its scale and offset; else it stays as it came, in inference mode.

    Raises:
        ModelError: the backbone has fewer layers.
    """
    backbone = model.get_layer(BACKBONE)
    total = len(backbone.layers)
    if not -1 <= count <= total:
        raise ModelError(f"the backbone has {total} layers, --fine_tune_layers asks for {count}")
    first = 0 if count == -1 else total - count
    backbone.trainable = True
    for place, layer in enumerate(backbone.layers):
        # Only trainable=False keeps BatchNorm in inference mode: fit() overrides a training=False
        # given when the model was built (keras issue 20285).
        kept = isinstance(layer, layers.BatchNormalization) and not batch_norm_trains
        layer.trainable = place >= first and not kept


def _build_mobilenet(image_size: int, weights: str) -> keras.Model:
    if weights == "imagenet":
        side = image_size if image_size in _MOBILENET_SIDES else _MOBILENET_SIDES[-1]
        return _build_with_imagenet(image_size, _MOBILENET_FILE.format(side=side))
    if weights != "none" and not Path(weights).is_file():
        raise ModelError(
            f"--weights should be imagenet, none or a weights file, found no file {weights!r}"
        )
    try:
        return _mobilenet(image_size, None if weights == "none" else weights)
    except (ValueError, OSError) as error:
        raise ModelError(
            f"{weights} should hold MobileNetV2 weights without top: {first_line(error)}"
        ) from error


def _mobilenet(image_size: int, weights: str | None) -> keras.Model:
    return keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3), include_top=False, weights=weights, name=BACKBONE
    )


def _build_with_imagenet(image_size: int, file_name: str) -> keras.Model:
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = home / "models" / file_name
    advice = (
        f"put {file_name} into {path.parent}, name a weights file with --weights PATH, or start "
        "from random weights with --weights none"
    )
    if not path.exists():
        if not _site_answers():
            raise WeightsUnavailableError(
                f"the ImageNet weights are not in {path.parent}, and {_WEIGHTS_SITE} does not "
                f"answer within {CONNECT_SECONDS} s; {advice}"
            )
        path = _download(file_name, advice)
    try:
        # The path, not "imagenet": Keras would warn of sides for which it has no file.
        return _mobilenet(image_size, os.fspath(path))
    except (ValueError, OSError) as error:
        raise WeightsUnavailableError(
            f"{path} cannot be read ({first_line(error)}); delete it, so that it is fetched again"
        ) from error


def _download(file_name: str, advice: str) -> Path:
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        url = f"{_WEIGHTS_SITE}mobilenet_v2/{file_name}"
        return Path(keras.utils.get_file(file_name, url, cache_subdir="models"))
    except Exception as error:  # get_file raises plain Exception for every broken download
        raise WeightsUnavailableError(
            f"the ImageNet weights could not be fetched: {first_line(error)}; {advice}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _site_answers() -> bool:
    """Tell whether the site of the weights answers; a broken resolver cannot make this wait."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(_WEIGHTS_SITE, timeout=CONNECT_SECONDS):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()  # a refusal is an answer
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()
