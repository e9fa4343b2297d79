"""Corruptions: exact where they can be computed by hand, repeatable, stronger with strength."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.corruptions import (
    ARTIFACTS,
    CORRUPTIONS,
    STRENGTHS,
    adjust_gamma,
    blur,
    compress,
    corrupt,
    downsample,
    rotate,
    scale_colors,
)

KINDS = [*CORRUPTIONS, *ARTIFACTS]
# These depend on no seed.
FIXED = ("blur", "JPEG", "downsampling")


def lesion_image(height: int, width: int | None = None) -> np.ndarray:
    """Return skin with an oblong dark lesion beside the center and fine texture, at any size."""
    width = width or height
    y, x = np.mgrid[-1:1:400j, -1:1:400j]
    dark = 1 / (1 + np.exp(20 * (np.hypot((x - 0.1) / 1.6, y + 0.1) - 0.3)))
    texture = np.random.default_rng(0).normal(0, 12, (40, 40, 1)).repeat(10, 0).repeat(10, 1)
    pixels = np.array((214, 160, 146)) - dark[..., None] * (90, 95, 95) + texture
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def flat(level: int, size: int = 96) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_an_image_and_the_original_stays_as_it_is(kind):
    for shape in ((32, 32), (30, 45), (45, 30), (3, 3)):
        image = lesion_image(*shape)
        before = image.copy()
        for strength in (1, 5):
            found = corrupt(image, kind, strength, seed=7)
            assert found.dtype == np.uint8
            assert found.shape == image.shape
        assert (image == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind):
    image = lesion_image(64)
    first, again, *others = (corrupt(image, kind, 4, seed=seed) for seed in (1, 1, 2, 3, 4, 5, 6))
    assert (first == again).all()
    assert all((first == other).all() for other in others) == (kind in FIXED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_strength_is_farther_from_the_original(kind):
    image = lesion_image(192)
    for seed in (0, 1):
        distances = [distance(corrupt(image, kind, n, seed=seed), image) for n in STRENGTHS]
        assert distances[0] > 0
        assert (np.diff(distances) > 0).all(), distances


@pytest.mark.parametrize("kind", KINDS)
def test_a_strength_means_the_same_at_any_size(kind):
    large = lesion_image(256)

    def halve(image: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC))

    small = halve(large)
    found, expected = corrupt(small, kind, 5, seed=3), halve(corrupt(large, kind, 5, seed=3))
    assert distance(found, expected) < 0.55 * distance(found, small)
    assert distance(found, expected) < 2


@pytest.mark.parametrize(
    ("kind", "strength"), [("blur", 0), ("blur", 6), ("blur", 1.5), ("fog", 1)]
)
def test_unknown_kinds_and_strengths_are_refused(kind, strength):
    with pytest.raises(ValueError, match=r"a kind among brightness, .* strength of 1 to 5"):
        corrupt(flat(0), kind, strength, seed=0)


def test_gains_multiply_each_channel_and_stop_at_white():
    pixel = np.uint8([[[100, 201, 50]]])
    assert scale_colors(pixel, 1.5).tolist() == [[[150, 255, 75]]]
    assert scale_colors(pixel, (0.5, 1.0, 2.0)).tolist() == [[[50, 201, 100]]]
    assert scale_colors(pixel, 1.0).tolist() == pixel.tolist()


def test_gamma_is_a_power_of_the_fraction_of_white():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert (adjust_gamma(every, 1.0) == every).all()
    assert adjust_gamma(np.uint8([0, 51, 102, 255]), 2.0).tolist() == [0, 10, 41, 255]
    assert adjust_gamma(np.uint8([0, 64, 255]), 0.5).tolist() == [0, 128, 255]


@pytest.mark.parametrize("kind", ["brightness", "gamma"])
def test_half_of_the_images_become_brighter_and_the_others_darker(kind):
    means = [corrupt(flat(100, 2), kind, 5, seed=seed).mean() for seed in range(200)]
    assert len(set(means)) == 2
    assert 80 < sum(mean > 100 for mean in means) < 120


def test_white_balance_moves_red_and_blue_apart():
    shifts = [corrupt(flat(100, 1), "white balance", 5, seed=n)[0, 0].astype(int) for n in range(9)]
    assert all((red - 100) * (blue - 100) < 0 for red, _, blue in shifts)
    assert all(75 <= value <= 130 for shift in shifts for value in shift)


@pytest.mark.parametrize("kind", ["blur", "JPEG", "downsampling", "rotation"])
def test_a_plain_image_stays_plain(kind):
    for strength in STRENGTHS:
        # JPEG rounds the mean of a block, to steps of 67 / 8 at a quality of 12.
        limit = 67 / 8 / 2 if kind == "JPEG" else 1
        found = corrupt(flat(120), kind, strength, seed=0)
        assert np.ptp(found) == 0
        assert distance(found, flat(120)) <= limit


def test_blur_has_its_standard_deviation_in_side_lengths():
    line = np.zeros((101, 101, 3), np.uint8)
    line[:, 50] = 255
    profile = blur(line, 3 / 101)[50, :, 0].astype(float)
    assert np.sqrt((profile * (np.arange(101) - 50) ** 2).sum() / profile.sum()) == pytest.approx(
        3, rel=0.05
    )


def test_downsampling_removes_what_is_finer_and_keeps_what_is_not_larger():
    image = lesion_image(64)
    assert (downsample(image, 64) == image).all()
    assert (downsample(image, 100) == image).all()
    stripes = flat(0, 64)
    stripes[:, ::2] = 200
    assert np.ptp(downsample(stripes, 16)[8:-8, 8:-8]) < 20


def test_a_lower_quality_compresses_more():
    image = lesion_image(128)
    assert distance(compress(image, 90), image) < distance(compress(image, 10), image)


def test_noise_is_centered_and_grows_in_proportion():
    weak, strong = (
        corrupt(flat(128, 256), "noise", strength, seed=0).astype(float) - 128
        for strength in (2, 4)
    )
    assert abs(strong.mean()) < 0.1
    assert weak.std() == pytest.approx(6, rel=0.02)
    assert strong.std() == pytest.approx(12, rel=0.02)


def test_rotation_turns_about_the_center():
    image = lesion_image(33)
    assert (rotate(image, 0) == image).all()
    assert (rotate(image, 90) == np.rot90(image)).all()
    for degrees in (9, -27, 45):
        assert (rotate(image, degrees)[16, 16] == image[16, 16]).all()


def test_hairs_cover_a_part_and_stay_where_they_are_at_higher_strengths():
    white = flat(255, 192)
    for seed in range(5):
        few, many = (corrupt(white, "hair", n, seed=seed).max(axis=2) < 160 for n in (1, 5))
        assert 0.002 < few.mean() < 0.04
        assert 0.05 < many.mean() < 0.2
        assert (many | ~few).all()


def test_a_ruler_lies_along_a_side_and_leaves_the_middle_free():
    image, sides = lesion_image(100), set()
    for seed in range(12):
        changed = (corrupt(image, "ruler", 5, seed=seed) != image).any(axis=2)
        assert not changed[32:68, 32:68].any()
        middles = {"top": (2, 50), "bottom": (97, 50), "left": (50, 2), "right": (50, 97)}
        (side,) = [name for name, place in middles.items() if changed[place]]
        sides.add(side)
    assert len(sides) == 4


def test_ink_darkens_around_the_lesion():
    white = flat(255, 192)
    for seed in range(5):
        found = corrupt(white, "ink", 5, seed=seed)
        marked = found.min(axis=2) < 128
        assert 0.01 < marked.mean() < 0.15
        assert not marked[72:120, 72:120].any()
    # Nothing passes more light through ink.
    image = lesion_image(96)
    assert (corrupt(image, "ink", 5, seed=0) <= image).all()


def test_bubbles_are_clear_with_bright_and_dark_lines():
    gray = flat(128, 192)
    change = corrupt(gray, "bubbles", 5, seed=0).astype(int)[..., 0] - 128
    assert change.max() > 60
    assert change.min() < -30
    assert (change == 0).mean() > 0.6


def test_a_vignette_darkens_the_corners_and_leaves_the_center_alone():
    image = flat(200, 100)
    y, x = np.mgrid[-1:1:100j, -1:1:100j]
    for strength in STRENGTHS:
        found = corrupt(image, "vignette", strength, seed=0)
        assert (found[np.hypot(x, y) < 0.58] == 200).all()
        assert found[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 40
    # At strength 5 the field ends at the sides, at strength 1 far outside of them.
    weak, strong = (corrupt(image, "vignette", n, seed=0)[50] for n in (1, 5))
    assert weak.min() > 180
    assert strong[[0, -1]].max() < 150
