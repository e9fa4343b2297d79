"""The table of backbones: complete, free of TensorFlow, and in agreement with Keras."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models.applications import model_presets
from models.backbones import BACKBONES, MODEL_NAMES

ROOT = Path(__file__).parent.parent


def test_the_table_needs_the_standard_library_alone():
    code = "import sys, models.backbones; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(run.stdout.split()) - set(sys.stdlib_module_names) <= {
        "__main__",
        "models",
        "support",
    }


def test_every_backbone_has_a_name_and_presets():
    assert ("sequential", *BACKBONES) == MODEL_NAMES
    assert model_presets("mobilenet") == {"image_size": 192, "fine_tune_layers": 126}
    assert model_presets("efficientnet_lite") == {"image_size": 224, "fine_tune_layers": 114}
    for name in ("efficientnet", "convnext", "vit"):
        assert model_presets(name) == {"image_size": 224, "fine_tune_layers": -1}


def test_every_application_is_a_constructor_of_keras_or_of_the_project():
    own = {"vit": None, "efficientnet_lite": "EfficientNetLite0"}
    for name, entry in BACKBONES.items():
        if name in own:
            assert entry.application == own[name]
        else:
            assert callable(getattr(keras.applications, entry.application))


@pytest.mark.parametrize("name", ["efficientnet", "convnext", "vit"])
def test_pixels_are_scaled_as_keras_scales_them(name):
    """EfficientNetV2-B0 and ConvNeXt of keras.applications can scale by themselves."""
    pixels = np.linspace(0, 255, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    mean, deviation = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    entry = BACKBONES[name]
    layer = keras.layers.Rescaling(entry.scale, offset=entry.offset)
    assert np.allclose(layer(pixels), (pixels - mean) / deviation, atol=1e-4)


def test_pixels_of_efficientnet_lite_are_scaled_as_its_authors_scale_them():
    entry = BACKBONES["efficientnet_lite"]
    layer = keras.layers.Rescaling(entry.scale, offset=entry.offset)
    assert np.array_equal(layer(np.array([127.0, 255.0, 0.0])), [0, 1, -127 / 128])


def test_weights_of_the_image_size_are_chosen_and_else_the_largest():
    mobilenet = BACKBONES["mobilenet"]
    for image_size, expected in ((96, 96), (192, 192), (64, 224), (500, 224)):
        url, name = mobilenet.find_weights(image_size)
        assert url.endswith(f"/mobilenet_v2/{name}")
        assert f"_1.0_{expected}_no_top.h5" in name
    url, name = BACKBONES["vit"].find_weights(224)
    assert url.endswith("/model.weights.h5")
    assert name == "deit_small_distilled_patch16_224_imagenet.weights.h5"
    assert BACKBONES["efficientnet_lite"].find_weights(96) == (
        None,
        "efficientnet_lite0_notop.weights.h5",
    )


def test_only_convolutional_backbones_take_any_size():
    assert [name for name, entry in BACKBONES.items() if not entry.takes_any_size] == ["vit"]
