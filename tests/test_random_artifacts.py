"""Hair, rulers, dark corners and noise on training images."""

import numpy as np
import pytest
import tensorflow as tf

from data.artifact_masks import draw_masks
from data.augmentation import StatelessSeed
from data.random_artifacts import RandomArtifacts, RandomNoise

SIZE = 32


def gray(count: int = 1, level: float = 200.0) -> tf.Tensor:
    return tf.fill((count, SIZE, SIZE, 3), level)


def plain(layer: RandomArtifacts, **changes) -> tuple[tf.Tensor, ...]:
    """Return a transformation of one image that adds nothing, with some changes."""
    values = {
        "mask": [0],
        "flips": [[False, False, False]],
        "cover": [0.0],
        "color": [[10.0, 20.0, 30.0]],
        "darkness": [0.0],
        "radius": [1.0],
        "fade": [0.5],
        "center": [[0.0, 0.0]],
    } | changes
    return tuple(tf.constant(value) for value in values.values())


def test_masks_are_lines_on_a_free_background_and_always_the_same():
    masks = draw_masks(12, 64)
    assert masks.shape == (12, 64, 64)
    covered = (masks > 30).mean(axis=(1, 2))
    assert covered.min() > 0
    assert covered.max() < 0.5
    assert (masks == draw_masks(12, 64)).all()
    assert (masks != draw_masks(12, 64, seed=1)).any()
    assert len({mask.tobytes() for mask in masks}) == 12


def test_a_mask_is_the_same_drawing_at_any_size():
    large = draw_masks(3, 96).reshape(3, 48, 2, 48, 2).mean(axis=(2, 4))
    assert np.abs(large - draw_masks(3, 48)).max() <= 1


def test_hair_covers_the_image_in_its_color():
    layer = RandomArtifacts(size=SIZE, hair=1.0, vignette=0.0)
    drawn = layer.transform_images(gray(), plain(layer, cover=[0.5])).numpy()[0]
    mask = draw_masks(1, SIZE)[0, ..., None] / 255 * 0.5
    assert drawn == pytest.approx(200 * (1 - mask) + mask * np.array([10, 20, 30]), abs=1e-3)
    # Turned: the image is the same, the mask is mirrored.
    flips = [[False, True, False]]
    turned = layer.transform_images(gray(), plain(layer, cover=[0.5], flips=flips)).numpy()[0]
    assert turned == pytest.approx(drawn[::-1], abs=1e-3)


def test_a_vignette_darkens_from_its_radius_on():
    layer = RandomArtifacts(size=SIZE, hair=0.0, vignette=1.0)
    drawn = layer.transform_images(gray(), plain(layer, darkness=[0.8])).numpy()[0, ..., 0]
    steps = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    distance = np.hypot(steps, steps[:, None])
    assert (drawn[distance <= 1] == 200).all()
    assert drawn[0, 0] == pytest.approx(200 * (1 - 0.8 * (distance[0, 0] - 1) / 0.5), abs=1e-2)


def test_the_fraction_of_images_with_artifacts_is_the_one_asked_for():
    layer = RandomArtifacts(size=SIZE, hair=0.3, vignette=0.6)
    transformation = layer.get_random_transformation(gray(2000), seed=StatelessSeed(0, 0))
    assert (transformation[2] > 0).numpy().mean() == pytest.approx(0.3, abs=0.04)
    assert (transformation[4] > 0).numpy().mean() == pytest.approx(0.6, abs=0.04)
    layer = RandomArtifacts(size=SIZE, hair=0.0, vignette=0.0)
    untouched = layer.get_random_transformation(gray(3), seed=StatelessSeed(0, 0))
    assert (layer.transform_images(gray(3), untouched).numpy() == 200).all()


def test_noise_has_the_deviation_that_was_drawn_and_other_values_in_each_step():
    layer = RandomNoise(size=SIZE, noise=20.0)
    pattern, factor = layer.get_random_transformation(gray(50, 128.0), seed=StatelessSeed(0, 0))
    noise = layer.transform_images(gray(50, 128.0), (pattern, factor)).numpy() - 128
    assert noise.std(axis=(1, 2, 3)) == pytest.approx(factor.numpy() * 32, rel=0.05, abs=0.01)
    assert factor.numpy().min() >= 0
    assert 10 < factor.numpy().max() * 32 <= 20
    other, _ = layer.get_random_transformation(gray(50), seed=StatelessSeed(0, 1))
    assert (other != pattern).numpy().any(axis=(1, 2, 3)).all()
    layer = RandomNoise(size=SIZE, noise=0.0)
    pattern, factor = layer.get_random_transformation(gray(2), seed=StatelessSeed(0, 0))
    assert (layer.transform_images(gray(2), (pattern, factor)).numpy() == 200).all()
