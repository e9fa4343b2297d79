import numpy as np
import pytest
import tensorflow as tf

from data.augmentation import (
    Augmentation,
    AugmentationSettings,
    RandomAffine,
    RandomColor,
    RandomSharpness,
    StatelessSeed,
    build_augmentation,
)

STRONG = AugmentationSettings(
    rotation_degrees=180.0,
    flip=True,
    view=(0.7, 1.1),
    shift=0.1,
    brightness=0.2,
    contrast=0.3,
    color_cast=0.2,
    sharpness=1.0,
    hair=0.5,
    vignette=0.5,
    noise=20.0,
)


def images(count: int = 6, side_length: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side_length, side_length, 3), np.uint8)


def test_by_default_images_are_unchanged():
    augment = build_augmentation(AugmentationSettings(), image_size=24)
    assert np.allclose(augment(images(), seed=0, step=5), images(), atol=1e-3)


def test_images_are_scaled_to_the_input_size_about_the_center():
    ramp = np.tile(np.arange(0, 240, 10, np.uint8)[None, :, None], (24, 1, 3))[None]
    small = build_augmentation(AugmentationSettings(), image_size=12)(ramp, seed=0, step=0)
    assert small.shape == (1, 12, 12, 3)
    # Each small pixel lies between two large ones: 5, 25, 45, ...
    assert np.allclose(small[0, 6, :, 0], np.arange(5, 240, 20), atol=1e-3)


def test_the_result_depends_only_on_seed_and_step():
    augment = build_augmentation(STRONG, image_size=20)
    first = augment(images(), seed=1, step=7).numpy()
    augment(images(), seed=1, step=8)
    assert (augment(images(), seed=1, step=7).numpy() == first).all()
    assert not np.allclose(augment(images(), seed=1, step=8), first)
    assert not np.allclose(augment(images(), seed=2, step=7), first)


def test_the_images_of_a_batch_are_augmented_differently_and_stay_in_range():
    same = np.repeat(images(1), 6, axis=0)
    out = build_augmentation(STRONG, image_size=24)(same, seed=0, step=0).numpy()
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 255
    assert min(np.abs(out[0] - other).mean() for other in out[1:]) > 1


def test_a_quarter_turn_is_a_rotation_and_not_a_shear():
    layer = RandomAffine(image_size=24, rotation_degrees=90, flip=False, view=(1.0, 1.0), shift=0.0)
    center = 11.5
    quarter = tf.constant([[[0.0, -1.0, 2 * center], [1.0, 0.0, 0.0]]])
    turned = layer.transform_images(images(1), quarter).numpy()[0]
    assert np.allclose(turned, np.rot90(images(1)[0], k=1), atol=1e-3) or np.allclose(
        turned, np.rot90(images(1)[0], k=-1), atol=1e-3
    )


@pytest.mark.parametrize("seed", range(3))
def test_transformations_keep_angles_and_respect_their_limits(seed):
    layer = RandomAffine(image_size=24, rotation_degrees=180, flip=True, view=(0.6, 1.1), shift=0.1)
    matrices = layer.get_random_transformation(
        tf.zeros((64, 30, 30, 3)), seed=StatelessSeed(seed, 0)
    ).numpy()
    (a, b, left), (c, d, top) = matrices.transpose(1, 2, 0)
    assert np.allclose(a * b + c * d, 0, atol=1e-4)
    view = np.sqrt(a**2 + c**2) * 24 / 30
    assert np.allclose(np.sqrt(b**2 + d**2) * 24 / 30, view, atol=1e-4)
    assert view.min() >= 0.6
    assert view.max() <= 1.1
    mirrored = (a * d - b * c) < 0
    assert 10 < mirrored.sum() < 54
    # The visible part is anywhere in the image and extends beyond its edge by 3 pixels at most.
    reach = 15 * np.maximum(1 - view, 0) + 3
    for center in (a * 11.5 + b * 11.5 + left, c * 11.5 + d * 11.5 + top):
        assert (np.abs(center - 14.5) <= reach + 1e-3).all()
        assert np.abs(center - 14.5).max() > 3
    angles = np.degrees(np.arctan2(-b, d))  # mirrored or not
    assert angles.min() < -150
    assert angles.max() > 150


def test_sharpness_removes_or_adds_fine_detail():
    layer = RandomSharpness(1.0)
    edge = np.full((3, 13, 13, 3), 100, np.float32)
    edge[:, :, 7:] = 150
    blurred, same, sharpened = layer.transform_images(edge, tf.constant([1.0, 0.0, -1.0])).numpy()
    steps = [np.abs(np.diff(row[4, :, 0])).max() for row in (blurred, same, sharpened)]
    assert steps[0] < 20
    assert (same == edge[1, 2:-2, 2:-2]).all()
    assert steps[2] > 70
    assert np.allclose(blurred[4, 2:7, 0], 100 + 50 * np.array([0, 1, 3, 6, 8]) / 9)
    # Far from the edge nothing changes.
    assert np.allclose(blurred[:, 0], 100)
    assert np.allclose(sharpened[:, 0], 100)


def test_color_changes_brightness_contrast_and_channels():
    layer = RandomColor(brightness=0.1, contrast=0.3, color_cast=0.2)
    added, contrast, cast = layer.get_random_transformation(
        tf.zeros((400, 4, 4, 3)), seed=StatelessSeed(0, 0)
    )
    assert [tuple(drawn.shape[1:]) for drawn in (added, contrast, cast)] == [
        (1, 1, 1),
        (1, 1, 1),
        (1, 1, 3),
    ]
    for drawn, low, high in ((added, -25.5, 25.5), (contrast, 0.7, 1.3), (cast, 0.8, 1.2)):
        assert low <= drawn.numpy().min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < drawn.numpy().max() <= high
    image = np.tile(np.array([100, 140], np.float32), 8).reshape(1, 4, 4, 1).repeat(3, axis=3)
    image[:, 0, 0] = 120  # the pixel that the mean is computed from
    out = layer.transform_images(
        image,
        (
            tf.reshape([10.0], (1, 1, 1, 1)),
            tf.reshape([0.5], (1, 1, 1, 1)),
            tf.reshape([0.5, 1.0, 2.0], (1, 1, 1, 3)),
        ),
    ).numpy()
    # 140 + 10 is 30 above the mean, half of that 15: 135, times the cast of each channel.
    assert np.allclose(out[0, 3, 3], [135 / 2, 135, 255])


def test_no_two_steps_share_a_seed():
    drawn = set()
    for step in range(20):
        source = StatelessSeed(0, step)
        drawn |= {tuple(source.next().numpy()) for _ in range(10)}
    assert len(drawn) == 200


def test_transforms_run_in_order():
    class Add:
        def __init__(self, amount):
            self.amount = amount

        def get_random_transformation(self, images, seed):
            return self.amount

        def transform_images(self, images, transformation):
            return images * 2 + transformation

    out = Augmentation([Add(1.0), Add(3.0)])(tf.zeros((1, 2, 2, 3)), seed=0, step=0)
    assert (out.numpy() == 5.0).all()
