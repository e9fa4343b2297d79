"""EfficientNet-Lite0, layer by layer, against the published architecture."""

import keras
import numpy as np
import pytest

from models.backbones import BACKBONES
from models.efficientnet_lite import build_efficientnet_lite0

# Stem, blocks and head for images of 224 px: name, side length of the depthwise filters, expansion,
# and side length and channels of the input and of the output. After table 1 of Tan and Le 2019
# (EfficientNet-B0), whose blocks those of Lite0 are, without squeeze-and-excitation.
BLOCKS = [
    ("block1a", 3, 1, (112, 32), (112, 16)),
    ("block2a", 3, 6, (112, 16), (56, 24)),
    ("block2b", 3, 6, (56, 24), (56, 24)),
    ("block3a", 5, 6, (56, 24), (28, 40)),
    ("block3b", 5, 6, (28, 40), (28, 40)),
    ("block4a", 3, 6, (28, 40), (14, 80)),
    ("block4b", 3, 6, (14, 80), (14, 80)),
    ("block4c", 3, 6, (14, 80), (14, 80)),
    ("block5a", 5, 6, (14, 80), (14, 112)),
    ("block5b", 5, 6, (14, 112), (14, 112)),
    ("block5c", 5, 6, (14, 112), (14, 112)),
    ("block6a", 5, 6, (14, 112), (7, 192)),
    ("block6b", 5, 6, (7, 192), (7, 192)),
    ("block6c", 5, 6, (7, 192), (7, 192)),
    ("block6d", 5, 6, (7, 192), (7, 192)),
    ("block7a", 3, 6, (7, 192), (7, 320)),
]


def expected_layers() -> list[tuple]:
    """Return the kind, name, output and filter size of every layer, in order."""
    stem = [
        ("InputLayer", None, (224, 3), None),
        ("Conv2D", "stem_conv", (112, 32), 3),
        ("BatchNormalization", "stem_bn", (112, 32), None),
        ("ReLU", "stem_activation", (112, 32), None),
    ]
    blocks = []
    for name, kernel, expansion, (before, channels), after in BLOCKS:
        wide = (before, channels * expansion)
        narrow = (after[0], channels * expansion)
        if expansion > 1:
            blocks += [
                ("Conv2D", f"{name}_expand_conv", wide, 1),
                ("BatchNormalization", f"{name}_expand_bn", wide, None),
                ("ReLU", f"{name}_expand_activation", wide, None),
            ]
        blocks += [
            ("DepthwiseConv2D", f"{name}_dwconv", narrow, kernel),
            ("BatchNormalization", f"{name}_bn", narrow, None),
            ("ReLU", f"{name}_activation", narrow, None),
            ("Conv2D", f"{name}_project_conv", after, 1),
            ("BatchNormalization", f"{name}_project_bn", after, None),
        ]
        if (before, channels) == after:
            blocks.append(("Add", f"{name}_add", after, None))
    head = [
        ("Conv2D", "top_conv", (7, 1280), 1),
        ("BatchNormalization", "top_bn", (7, 1280), None),
        ("ReLU", "top_activation", (7, 1280), None),
    ]
    return [*stem, *blocks, *head]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return build_efficientnet_lite0((224, 224, 3))


def test_every_layer_has_the_published_shape(network):
    found = []
    for layer in network.layers:
        _, height, width, channels = layer.output.shape
        assert height == width
        size = layer.kernel_size[0] if hasattr(layer, "kernel_size") else None
        name = None if isinstance(layer, keras.layers.InputLayer) else layer.name
        found.append((type(layer).__name__, name, (height, channels), size))
    assert found == expected_layers()


def test_parameters_are_as_many_as_published(network):
    """4.7 million, with the last layer for 1,000 classes."""
    assert network.count_params() == 3_413_024
    assert round((network.count_params() + 1281 * 1000) / 1e6, 1) == 4.7


def test_layers_have_the_constants_of_the_reference(network):
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.epsilon == 1e-3
        if isinstance(layer, keras.layers.ReLU):
            assert layer.max_value == 6
        assert not getattr(layer, "use_bias", False)
        assert getattr(layer, "padding", "same") == "same"


def test_fine_tuning_begins_where_that_of_mobilenet_does(network):
    """That is, after the first convolution at a quarter of the image size that widens."""
    count = BACKBONES["efficientnet_lite"].fine_tune_layers
    assert network.layers[-count].name == "block3a_expand_bn"


def test_blocks_that_keep_their_shape_add_their_input(network):
    """Where the last BatchNormalization of these blocks gives 0, their output is their input."""
    names = [layer.name for layer in network.layers]
    starts, ends = [], []
    for name, _, _, before, after in BLOCKS:
        if before == after:
            norm = network.get_layer(f"{name}_project_bn")
            norm.set_weights([np.zeros_like(weight) for weight in norm.get_weights()])
            starts.append(network.layers[names.index(f"{name}_expand_conv") - 1].output)
            ends.append(network.get_layer(f"{name}_add").output)
    image = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)
    before, after = keras.Model(network.input, [starts, ends])(image)
    for one, other in zip(before, after, strict=True):
        assert np.ptp(one) > 0
        assert (np.asarray(one) == np.asarray(other)).all()
