"""Any network of keras.applications: its pixels, its weights, and what a model of it can do."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.ops.operation_utils import get_source_inputs
from keras.src.utils import file_utils

from models import ModelError, transfer
from models.applications import APPLICATIONS, check_model_name, find_backbone
from models.bundle import load_model, save_model
from models.classifier import load_classifier
from models.factory import build_model
from models.grad_cam import Explainer
from models.initial import copy_weights
from models.tflite_conversion import convert_to_tflite
from models.transfer import BACKBONE, at_size, unfreeze
from train import parse

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
NAMES = ("a", "b", "c")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def build(name: str, image_size: int = 32, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(f"keras:{name}", image_size=image_size, class_names=NAMES, **options)


@pytest.fixture
def no_network(monkeypatch):
    """Put nothing in the place of the network: what reaches it are the features."""

    def build_nothing(entry, image_size):
        inputs = keras.Input((image_size, image_size, 3))
        return keras.Model(inputs, keras.layers.Activation("linear")(inputs))

    monkeypatch.setattr(transfer, "_build_network", build_nothing)


def scale(name: str, pixels: np.ndarray = PIXELS) -> np.ndarray:
    """Return what reaches the network of a model for some pixels, without a network."""
    model = build(name)
    body = keras.Model(model.inputs, model.get_layer("pooling").input)
    return np.asarray(body([pixels.astype(np.float32)]))


class Reached(Exception):  # noqa: N818
    """Raised in the place of what would take time, with what reached it."""


def scale_by_itself(application: str, monkeypatch, **options) -> np.ndarray:
    """Return what reaches the first convolution of a network of Keras that scales pixels itself."""

    class Stop:
        def __init__(self, *args, **kwargs):
            pass

        def __call__(self, x):
            raise Reached(x)

    monkeypatch.setattr(keras.src.layers, "Conv2D", Stop)
    with pytest.raises(Reached) as caught:
        getattr(keras.applications, application)(
            input_shape=(32, 32, 3), include_top=False, weights=None, **options
        )
    (features,) = caught.value.args
    return np.asarray(keras.Model(get_source_inputs(features), features)([PIXELS]))


def test_the_table_has_all_networks_of_keras_but_the_largest():
    found = {name for name in vars(keras.applications) if name[0].isupper()}
    known = {name.removeprefix("keras:") for name in APPLICATIONS}
    assert found - known == {"ConvNeXtXLarge"}
    assert known <= found


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ResNet50", "resnet"),  # caffe
        ("VGG19", "vgg19"),
        ("DenseNet169", "densenet"),  # torch
        ("MobileNet", "mobilenet"),  # tf
        ("MobileNetV2", "mobilenet_v2"),
        ("ResNet101V2", "resnet_v2"),
        ("InceptionV3", "inception_v3"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("NASNetMobile", "nasnet"),
        ("Xception", "xception"),
    ],
)
def test_pixels_are_scaled_as_preprocess_input_scales_them(name, module, no_network):
    expected = getattr(keras.applications, module).preprocess_input(PIXELS.astype(np.float32))
    assert np.abs(expected).max() > 0.9
    assert np.allclose(scale(name), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["EfficientNetV2B3", "EfficientNetV2S", "MobileNetV3Large"])
def test_pixels_are_scaled_as_networks_scale_them_that_do_it_themselves(
    name, no_network, monkeypatch
):
    expected = scale(name)
    assert np.allclose(scale_by_itself(name, monkeypatch), expected, atol=1e-5)


def test_pixels_of_efficientnet_and_convnext_are_scaled_by_the_statistics_of_imagenet(no_network):
    expected = (PIXELS / 255 - MEAN) / DEVIATION
    assert np.allclose(scale("ConvNeXtSmall"), expected, atol=1e-4)
    # The network divides by 255.
    assert np.allclose(scale("EfficientNetB7") / 255, expected, atol=1e-4)


def write_as_keras(network: keras.Model, path: Path) -> str:
    """Write the weights of a network in the format of those that Keras downloads."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("MobileNet", "mobilenet"),
        ("EfficientNetB0", "efficientnet"),
        ("DenseNet121", "densenet"),
        ("MobileNetV3Small", "mobilenet_v3"),
        ("ResNet50", "resnet"),
    ],
)
def test_the_features_are_those_of_the_network_of_keras(name, module, tmp_path, monkeypatch):
    """With the weights of a file as Keras has them, after its own scaling of pixels."""
    application = getattr(keras.applications, name)
    keras.utils.set_random_seed(1)
    options = {"input_shape": (32, 32, 3), "include_top": False}
    source = application(**options, weights=None)
    for layer in source.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([MEAN, DEVIATION, np.array(0)])
            layer.finalize_state()
    path = write_as_keras(source, tmp_path / "weights.h5")
    if name == "EfficientNetB0":
        # It has a layer more if its weights are those of ImageNet.
        monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: path)
        source = application(**options, weights="imagenet")
    model = build(name, weights=path)
    pixels = getattr(keras.applications, module).preprocess_input(PIXELS.astype(np.float32))
    expected = np.asarray(source(pixels, training=False))
    body = keras.Model(model.inputs, model.get_layer("pooling").input)
    assert expected.std() > 0
    assert np.allclose(body([PIXELS], training=False), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_weights_are_those_that_keras_downloads(name, monkeypatch):
    """Keras builds the network before it asks for the weights."""
    application = getattr(keras.applications, name.removeprefix("keras:"))

    def stop(file_name, url, **_):
        raise Reached(url, file_name)

    monkeypatch.setattr(file_utils, "get_file", stop)
    entry = find_backbone(name)
    size = {"keras:NASNetLarge": 331}.get(name, 224)
    with pytest.raises(Reached) as caught:
        application(input_shape=(size, size, 3), include_top=False, weights="imagenet")
    assert entry.find_weights(size) == caught.value.args


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("keras:ResNet51V2", "keras:ResNet50V2, "),
        ("keras:resnet50v2", "keras:ResNet50V2, "),
        ("EfficientNetB0", "keras:EfficientNetB0, "),
        ("mobilnet", "mobilenet, "),
        ("keras:ConvNeXtXLarge", "keras:ConvNeXtLarge"),
        ("keras:preprocess_input", None),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_near(name, near):
    with pytest.raises(ModelError) as caught:
        check_model_name(name)
    message = str(caught.value)
    assert f"received {name!r}" + (f" (near: {near}" if near else "") in message
    assert message.endswith(")") == bool(near)


def test_a_network_has_complete_settings_and_help_stays_short(capsys):
    settings = parse(["--model", "keras:ResNet50V2"])
    assert (settings.image_size, settings.fine_tune_layers, settings.weights) == (
        224,
        -1,
        "imagenet",
    )
    assert settings.learning_rate == 1e-3
    assert parse(["--model", "keras:VGG16"]).learning_rate == 1e-4
    assert parse(["--model", "keras:MobileNet", "--sample"]).weights == "none"
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert capsys.readouterr().out.count("keras:") == 1
    with pytest.raises(SystemExit):
        parse(["--model", "keras:ResNet"])
    assert "train.py: error: --model: expected a model of" in capsys.readouterr().err


def test_images_below_the_smallest_size_of_a_network_are_refused():
    with pytest.raises(ModelError, match="at least 75 for InceptionV3, received 64"):
        build("InceptionV3", 64)


def list_layers(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return json.dumps(json.loads(archive.read("config.json")))


@pytest.mark.slow
def test_a_model_is_saved_loaded_explained_and_started_from(tmp_path):
    model, path = build("MobileNet"), tmp_path / "model.keras"
    save_model(model, path)
    loaded = load_model(path)
    expected = model.predict_on_batch(PIXELS)
    assert np.allclose(loaded.predict_on_batch(PIXELS), expected, atol=1e-6)
    assert Explainer(loaded)(PIXELS, np.array([0, 2])).shape == (2, 32, 32)
    other = build_model("keras:MobileNet", image_size=64, class_names=("x", "b"))
    copy_weights(loaded, other, {"b": "b"})
    pairs = zip(*(m.get_layer(BACKBONE).get_weights() for m in (loaded, other)), strict=True)
    assert all((one == two).all() for one, two in pairs)
    small = at_size(other, 32)
    assert small.input_shape == (None, 32, 32, 3)
    backbone = small.get_layer(BACKBONE)
    unfreeze(small, 5, batch_norm_trains=False)
    trained = [layer.name for layer in backbone.layers if layer.trainable_weights]
    assert trained == ["conv_pw_13"]


@pytest.mark.slow
def test_the_layers_of_a_mixed_precision_model_are_saved_in_float32(tmp_path):
    model = build("MobileNet", mixed_precision=True)
    assert model.get_layer(BACKBONE).get_layer("conv1").compute_dtype == "float16"
    save_model(model, tmp_path / "model.keras")
    assert "float16" not in list_layers(tmp_path / "model.keras")


def test_channels_are_swapped_in_every_format(no_network, tmp_path):
    """In that of TensorFlow Lite, too, and never by a layer that is trained."""
    model = build("ResNet50")
    unfreeze(model, -1, batch_norm_trains=True)
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]
    small = at_size(model, 48)
    assert len(small.trainable_weights) == 2
    assert (small.get_layer("swap_channels").get_weights()[0][0, 0] == np.eye(3)[::-1]).all()
    expected = model.predict_on_batch(PIXELS)
    save_model(model, tmp_path / "model.keras")
    convert_to_tflite(load_model(tmp_path / "model.keras"), tmp_path / "model.tflite")
    for ending in ("keras", "tflite"):
        y_prob = load_classifier(tmp_path / f"model.{ending}")(PIXELS).y_prob
        assert np.allclose(y_prob, expected, atol=1e-4)
    assert np.ptp(expected) > 0.5  # so that a swap would show


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small", "DenseNet121", "EfficientNetB0"])
def test_a_tflite_file_predicts_the_same(name, tmp_path):
    model = build(name)
    convert_to_tflite(model, tmp_path / "model.tflite")
    y_prob = load_classifier(tmp_path / "model.tflite")(PIXELS).y_prob
    assert np.allclose(y_prob, model.predict_on_batch(PIXELS), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "InceptionV3", "InceptionResNetV2"),
        *("MobileNetV3Small", "NASNetMobile", "VGG16", "Xception"),
    ],
)
def test_a_model_of_each_family_is_loaded_again_without_code(name, tmp_path):
    model = at_size(build(name, 128), 96)
    save_model(model, tmp_path / "model.keras")
    pairs = zip(load_model(tmp_path / "model.keras").weights, model.weights, strict=True)
    assert all((np.asarray(one) == np.asarray(other)).all() for one, other in pairs)
