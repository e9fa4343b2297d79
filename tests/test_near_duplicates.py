import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.contact_sheet import write_contact_sheet
from data.near_duplicates import MIN_SIMILARITY, find_near_duplicates
from data.registration import match_blocks, warp
from data.thumbnails import INVERSE, band, collect_thumbnails, make_thumbnail, orient, rotation


def lesion(seed: int, size: int = 150) -> Image.Image:
    """Return a dark spot on skin, with an outline and details of its own."""
    rng = np.random.default_rng(seed)
    texture = np.zeros((size, size))
    for cells in (10, 25, 50):
        noise = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        texture += np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    waves = rng.uniform(-0.1, 0.1, (4, 2))
    angle = np.arctan2(y, x)[..., None] * np.arange(2, 6)
    spot = np.hypot(x, y) < 0.45 + np.cos(angle) @ waves[:, 0] + np.sin(angle) @ waves[:, 1]
    level = np.where(spot, 110, 190) + 8 * texture
    pixels = level[..., None] * np.array([1, 0.8, 0.75])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(1))


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def thumbnails(*images: Image.Image | None):
    made = (image and make_thumbnail(np.asarray(image)) for image in images)
    return collect_thumbnails(made, len(images))


COPIES = {
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "compressed": compressed,
    "smaller": lambda image: image.resize((90, 90), Image.Resampling.BICUBIC),
    "darker": lambda image: image.point(lambda level: level * 0.7),
    "moved": lambda image: image.crop((8, 5, 148, 145)),
    # From about 15 degrees on, only some are found, and which of them depends on the processor.
    "turned by 10 degrees": lambda image: image.rotate(10, Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((150, 172)),
}


@pytest.fixture(scope="module")
def lesions() -> list[Image.Image]:
    return [lesion(seed) for seed in range(12)]


def test_each_copy_is_found_and_other_lesions_are_not(lesions):
    images = [copy(lesions[3]) for copy in COPIES.values()]
    pairs = find_near_duplicates(thumbnails(*images), thumbnails(*lesions))
    assert sorted((pair.first, pair.second) for pair in pairs) == [(i, 3) for i in range(10)]
    assert all(MIN_SIMILARITY <= pair.similarity <= 1 for pair in pairs)


def test_within_one_set_each_pair_is_found_once_and_the_first_index_is_the_smaller(lesions):
    copies = [COPIES["mirrored"](lesions[3]), compressed(lesions[3])]
    pairs = find_near_duplicates(thumbnails(copies[0], *lesions, copies[1]))
    assert {(pair.first, pair.second) for pair in pairs} == {(0, 4), (0, 13), (4, 13)}
    assert len(pairs) == 3


def test_a_whole_image_and_its_central_square_are_one():
    whole = Image.new("RGB", (200, 150), (200, 160, 150))
    whole.paste(lesion(1), (25, 0))
    pairs = find_near_duplicates(thumbnails(whole, lesion(2), lesion(1)))
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 2)]
    assert pairs[0].similarity > 0.9


def test_flat_and_unreadable_images_are_in_no_pair():
    flat = Image.new("RGB", (100, 100), (200, 150, 140))
    assert find_near_duplicates(thumbnails(flat, flat, None, None, lesion(1))) == []
    assert find_near_duplicates(thumbnails(flat, flat)) == []
    assert find_near_duplicates(thumbnails()) == []


def test_dark_corners_on_smooth_skin_are_not_a_copy():
    y, x = np.mgrid[-1:1:150j, -1:1:150j]
    images = []
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, 2, (150, 150))
        level = np.where(np.hypot(x, y) < 1.1, 190, 10) + noise
        images.append(Image.fromarray(np.stack([level] * 3, 2).clip(0, 255).astype(np.uint8)))
    assert find_near_duplicates(thumbnails(*images)) == []


def test_against_another_set_only_pairs_across_are_found():
    first = thumbnails(lesion(1), lesion(1), lesion(2))
    second = thumbnails(lesion(3), lesion(4), lesion(2))
    pairs = find_near_duplicates(first, second)
    assert [(pair.first, pair.second) for pair in pairs] == [(2, 2)]
    assert find_near_duplicates(first, thumbnails(None)) == []


def test_the_search_is_deterministic():
    images = thumbnails(*(lesion(seed % 5) for seed in range(10)))
    assert find_near_duplicates(images) == find_near_duplicates(images)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_progress_rises_to_the_end_in_steps_of_the_images(lesions, count):
    counts = []
    images = thumbnails(*lesions[:count])
    find_near_duplicates(images, on_progress=lambda *values: counts.append(values))
    assert {total for _, total in counts} == {4 * count}
    done = [value for value, _ in counts]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 4 * count)
    # The matched images, of which there is one less than images, each end a part of a step.
    assert len(set(done)) >= count


@pytest.mark.parametrize("orientation", range(8))
def test_an_orientation_is_undone_by_its_inverse(orientation):
    image = np.arange(16).reshape(4, 4)
    assert (orient(orient(image, orientation), INVERSE[orientation]) == image).all()


def test_a_turn_by_an_angle_reads_where_its_rotation_says():
    image = np.random.default_rng(1).normal(size=(1, 8, 8)).astype(np.float32)
    transforms = np.zeros((1, 2, 3), np.float32)
    transforms[0, :, :2] = rotation(8)
    inside = warp(np.ones_like(image), transforms) > 0
    assert np.allclose(orient(image, 8)[inside], warp(image, transforms)[inside], atol=1e-5)
    assert (rotation(8) @ rotation(9)).round(6).tolist() == [[1, 0], [0, 1]]


def test_blocks_agree_on_the_transform_between_two_images():
    noise = np.random.default_rng(1).normal(0, 20, (1, 64, 64)).astype(np.float32)
    image = band(noise, 1, 4, 6)
    true = np.array([[[1.05, 0.08, 2], [-0.06, 0.97, -1]]], np.float32)
    start = np.tile(np.eye(2, 3, dtype=np.float32), (1, 1, 1))
    # The first image is the second one, read at the true places.
    found, _ = match_blocks(warp(image, true), image, start, limit=5, tolerance=2)
    found, matches = match_blocks(warp(image, true), image, found, limit=2, tolerance=1)
    assert np.abs(found - true)[..., :2].max() < 0.02
    assert np.abs(found - true)[..., 2].max() < 0.3
    assert (matches.error[matches.known] < 1).mean() > 0.9


def test_a_contact_sheet_shows_each_pair_and_passes_over_what_cannot_be_read(tmp_path):
    lesion(1).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    pairs = [(str(tmp_path / "a.png"), str(tmp_path / name)) for name in ("a.png", "b.png")]
    write_contact_sheet(tmp_path / "sheet.jpg", pairs * 2, ["caption \u2028 é"] * 4)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size == (3 * 328, 2 * 174)
        assert np.ptp(np.asarray(sheet)[20:170, 0:320]) > 50
