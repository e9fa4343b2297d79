"""The square of an image that a user chooses: its pixels, its limits, and the default one."""

import io

import numpy as np
import pytest
from PIL import Image
from test_field_of_view import draw_border, draw_skin, round_field

from data import DataError
from data.images import load_bytes, load_whole


def encode(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def turned() -> Image.Exif:
    """EXIF data that ask for a rotation by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "content",
    [
        encode(noise(61, 40)),
        encode(noise(800, 605), "JPEG"),
        encode(noise(61, 40), "JPEG", exif=turned()),
        encode(noise(800, 605), "JPEG", exif=turned()),
    ],
    ids=("odd", "drafted", "turned", "turned and drafted"),
)
def test_the_default_square_gives_the_same_pixels_as_no_square(content):
    _, size, square = load_whole(content, 32, 100)
    assert square[2] == min(size)
    assert (load_bytes(content, 32, square=square) == load_bytes(content, 32)).all()


def test_a_square_is_cut_out_of_the_upright_image():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[30:, :10] = 255  # bottom left; top left when it is upright
    content = encode(pixels, "PNG", exif=turned())
    whole, size, square = load_whole(content, 8, 100)
    assert (size, square) == ((40, 60), (0, 10, 40))
    assert (whole[:10, :10] == 255).all()
    assert whole.sum() == 255 * 300
    assert (load_bytes(content, 10, square=(0, 0, 10)) == 255).all()
    assert not load_bytes(content, 10, square=(11, 0, 10)).any()


def test_a_small_square_of_a_large_jpeg_keeps_its_resolution():
    rows, columns = np.mgrid[:600, :800] // 4 % 2
    content = encode(np.repeat(255 * (rows ^ columns)[..., None], 3, 2).astype(np.uint8), "JPEG")
    square = (400, 300, 64)
    expected = np.asarray(Image.open(io.BytesIO(content)).crop((400, 300, 464, 364)))
    assert (load_bytes(content, 64, square=square) == expected).all()


@pytest.mark.parametrize(
    "square", [(-1, 0, 20), (0, -1, 20), (41, 0, 20), (0, 21, 20), (0, 0, 41), (0, 0, 7), (0, 0, 0)]
)
def test_a_square_that_is_not_inside_the_image_is_refused(square):
    with pytest.raises(DataError) as caught:
        load_bytes(encode(noise(60, 40)), 16, square=square)
    assert str(caught.value) == (
        "expected a square of at least 8 pixels inside the image of 60 x 40, received left "
        f"{square[0]}, top {square[1]}, side length {square[2]}; choose another"
    )


def test_a_square_at_the_edge_may_be_a_rounding_error_outside():
    content = encode(noise(60, 40))
    inside = load_bytes(content, 16, square=(20, 0, 40))
    assert (load_bytes(content, 16, square=(20.001, -0.001, 40)) == inside).mean() > 0.9


def test_the_default_square_of_an_image_with_a_border_is_inside_its_field():
    image = draw_border(draw_skin(lesion=0.1), round_field(0.75, 0.45, 0.4))
    content = encode(np.asarray(image))
    whole, size, (left, top, side_length) = load_whole(content, 96, 150)
    assert (size, whole.shape) == ((300, 225), (113, 150, 3))
    center = (left + side_length / 2, top + side_length / 2)
    assert center == pytest.approx((0.75 * 225, 0.45 * 225), abs=2)
    assert 0.5 * 225 < side_length < 0.7 * 225
    square = (left, top, side_length)
    assert (load_bytes(content, 96, square=square) == load_bytes(content, 96)).all()
    assert load_bytes(content, 96, square=(37.5, 0, 225)).min() < 10
