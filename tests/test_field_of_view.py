import io

import numpy as np
import pytest
from PIL import Image

from data.crop import decode_scaled
from data.field_of_view import find_visible_square
from data.images import load_bytes, load_mask

WIDTH, HEIGHT = 300, 225
SKIN = (205, 160, 140)
LESION = (90, 50, 40)
DIAGONAL = 2**0.5


def grid(size=(WIDTH, HEIGHT)) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of all pixels, in units of the short side."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    return x / min(size), y / min(size)


def draw_skin(size=(WIDTH, HEIGHT), lesion=0.15, color=SKIN, at=None) -> np.ndarray:
    """Draw skin with some noise and a round lesion, by default in the middle."""
    x, y = grid(size)
    at = at or (size[0] / min(size) / 2, size[1] / min(size) / 2)
    pixels = np.empty((*x.shape, 3))
    pixels[:] = color
    pixels[np.hypot(x - at[0], y - at[1]) < lesion] = LESION
    return pixels + np.random.default_rng(0).normal(0, 4, x.shape)[..., None]


def draw_border(pixels, field, level=2, softness=0.0) -> Image.Image:
    """Darken what is outside of a field, given by its signed distance, positive inside."""
    softness = max(softness, 1 / min(pixels.shape[:2]))
    visible = np.clip(field / softness + 0.5, 0, 1)[..., None]
    pixels = pixels * visible + level * (1 - visible)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def round_field(x, y, radius, size=(WIDTH, HEIGHT), height=None) -> np.ndarray:
    """Return the signed distance from an ellipse, given in units of the short side."""
    grid_x, grid_y = grid(size)
    return (1 - np.hypot((grid_x - x) / radius, (grid_y - y) / (height or radius))) * radius


def rectangular_field(left, top, right, bottom) -> np.ndarray:
    """Return the signed distance from bars of these widths, in units of the short side."""
    x, y = grid()
    distances = [x - left, WIDTH / HEIGHT - right - x, y - top, 1 - bottom - y]
    return np.min(distances, axis=0)


def as_jpeg(image, quality=85) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def found(image: Image.Image) -> tuple[float, ...] | None:
    """Return left, top and side length of the visible square, in units of the short side."""
    square = find_visible_square(image)
    return square and tuple(value / min(image.size) for value in square)


MIDDLE = (2 / 3, 0.5)


@pytest.mark.parametrize("level", [0, 25])
@pytest.mark.parametrize("softness", [0.0, 0.06])
@pytest.mark.parametrize("radius", [0.35, 0.5, 0.57])
def test_a_centered_circle_gives_the_largest_square_inside_it(radius, softness, level):
    image = draw_border(draw_skin(), round_field(*MIDDLE, radius), level, softness)
    for file in (image, Image.open(io.BytesIO(as_jpeg(image)))):
        left, top, side_length = found(file)
        assert side_length == pytest.approx(radius * DIAGONAL, abs=0.02)
        assert (left + side_length / 2, top + side_length / 2) == pytest.approx(MIDDLE, abs=0.01)


@pytest.mark.parametrize(
    ("x", "y", "radius"), [(0.55, 0.4, 0.35), (0.85, 0.5, 0.45), (0.7, 0.6, 0.38)]
)
def test_a_circle_beside_the_middle_moves_the_square(x, y, radius):
    pixels = draw_skin(lesion=0.1, at=(x, y))
    left, top, side_length = found(draw_border(pixels, round_field(x, y, radius)))
    assert side_length == pytest.approx(radius * DIAGONAL, abs=0.02)
    assert (left + side_length / 2, top + side_length / 2) == pytest.approx((x, y), abs=0.01)


def test_a_circle_that_two_sides_of_the_image_cut_gives_a_square_inside_both():
    """The square cannot be in the middle of the circle, which is near the top."""
    radius, x, y = 0.55, 0.4, 0.35
    field = round_field(x, y, radius)
    left, top, side_length = found(draw_border(draw_skin(lesion=0.1, at=(x, y)), field))
    assert (left + side_length / 2, top) == pytest.approx((x, 0), abs=0.01)
    # Its lower corners lie on the circle: (s / 2)^2 + (s - y)^2 = radius^2.
    expected = (2 * y + np.sqrt(5 * radius**2 - y**2)) / 2.5
    assert side_length == pytest.approx(expected, abs=0.02)


def test_corners_of_a_circle_larger_than_the_short_side_are_cut_off_if_they_are_deep():
    side_lengths = []
    for radius in (0.58, 0.6, 0.61, 0.62, 0.63, 0.68, 0.8):
        square = found(draw_border(draw_skin(lesion=0.1), round_field(*MIDDLE, radius)))
        side_lengths.append(1.0 if square is None else square[2])
    assert side_lengths[0] == pytest.approx(0.58 * DIAGONAL, abs=0.02)
    assert side_lengths == sorted(side_lengths)
    assert side_lengths[-3:] == [1.0, 1.0, 1.0]


def test_an_image_that_was_stretched_has_an_elliptic_field():
    size = (200, 200)
    field = round_field(0.5, 0.5, 0.36, size, height=0.48)
    square = found(draw_border(draw_skin(size, lesion=0.1), field))
    expected = 2 / np.hypot(1 / 0.36, 1 / 0.48)
    assert square[2] == pytest.approx(expected, abs=0.02)
    assert square[:2] == pytest.approx([0.5 - expected / 2] * 2, abs=0.02)


@pytest.mark.parametrize("level", [0, 25])
@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ((0, 0.15, 0, 0.15), (2 / 3 - 0.35, 0.15, 0.7)),
        ((0.25, 0, 0.25, 0), (0.25, 0.083, 0.833)),
        ((0, 0.1, 0, 0), (2 / 3 - 0.45, 0.1, 0.9)),
        ((0, 0, 0, 0.2), (2 / 3 - 0.4, 0, 0.8)),
        ((0.3, 0, 0, 0), (0.3 + 0.033 / 2, 0, 1)),
        ((0.1, 0.2, 0.1, 0.2), (2 / 3 - 0.3, 0.2, 0.6)),
    ],
    ids=["letterbox", "pillarbox", "top", "bottom", "left", "all sides"],
)
def test_straight_bars_are_cut_off(bars, expected, level):
    image = draw_border(draw_skin(lesion=0.1), rectangular_field(*bars), level)
    for file in (image, Image.open(io.BytesIO(as_jpeg(image)))):
        assert found(file) == pytest.approx(expected, abs=0.02)
        assert found(file)[1] >= bars[1]


def test_bars_beside_the_central_square_change_nothing():
    assert found(draw_border(draw_skin(), rectangular_field(0.15, 0, 0.15, 0))) is None


def test_a_lesion_that_reaches_beyond_the_square_makes_it_larger():
    field = round_field(*MIDDLE, 0.5)
    side_lengths = []
    for radius in (0.2, 0.3, 0.36, 0.4, 0.43):
        side_lengths.append(found(draw_border(draw_skin(lesion=radius), field))[2])
    assert side_lengths[:2] == pytest.approx([0.5 * DIAGONAL] * 2, abs=0.02)
    assert side_lengths == sorted(side_lengths)
    assert side_lengths[-1] == pytest.approx(1.2 * 0.5 * DIAGONAL, abs=0.03)


def draw_vignette(power: int, low: float, color=SKIN) -> np.ndarray:
    x, y = grid()
    distance = np.hypot(x - 2 / 3, y - 0.5) / np.hypot(2 / 3, 0.5)
    return draw_skin(color=color) * (low + (1 - low) * (1 - distance**power))[..., None]


@pytest.mark.parametrize("color", [SKIN, (110, 75, 55)])
@pytest.mark.parametrize("power", [1, 2, 4])
@pytest.mark.parametrize("low", [0.0, 0.2])
def test_dark_corners_of_the_lighting_are_no_border(power, low, color):
    pixels = draw_vignette(power, low, color).clip(0, 255)
    assert found(Image.fromarray(pixels.astype(np.uint8))) is None


def draw_hair() -> np.ndarray:
    pixels, (x, y) = draw_skin(), grid()
    for k in range(12):
        pixels[np.abs(y - 0.09 * k - 0.4 * (x - 0.6) ** 2) < 0.02] = (20, 15, 15)
    return pixels


def draw_ink() -> np.ndarray:
    pixels, (x, y) = draw_skin(), grid()
    ring = np.abs(np.hypot(x - 2 / 3, y - 0.5) - 0.48) < 0.06
    pixels[ring] = (40, 20, 60)
    pixels[(x < 0.3) & (y < 0.2)] = (40, 20, 60)
    return pixels


def draw_ruler() -> np.ndarray:
    pixels, (x, y) = draw_skin(), grid()
    pixels[y > 0.88] = 10
    pixels[(y > 0.9) & (x % 0.05 < 0.012)] = 230
    return pixels


def draw_lesion_at_the_border() -> np.ndarray:
    pixels, (x, y) = draw_skin(), grid()
    pixels[np.hypot(x - 0.1, y - 0.5) < 0.65] = (30, 20, 18)
    return pixels


def draw_lesions_in_two_corners() -> np.ndarray:
    pixels, (x, y) = draw_skin(), grid()
    for at in (0.2, 1.1):
        pixels[np.hypot(x - at, y) < 0.2] = (30, 20, 18)
    return pixels


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((HEIGHT, WIDTH, 3)),
        draw_skin(color=(30, 22, 18)),
        draw_skin(lesion=0.1, color=(45, 30, 25)),
        draw_hair(),
        draw_ink(),
        draw_ruler(),
        draw_lesion_at_the_border(),
        draw_lesions_in_two_corners(),
        draw_skin(lesion=0.62),
    ],
    ids=[
        *("black", "very dark", "dark skin", "hair", "ink", "ruler", "lesion at the border"),
        *("lesions in two corners", "huge lesion"),
    ],
)
def test_other_dark_regions_are_not_cut_off(pixels):
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    assert found(image) is None
    assert found(Image.open(io.BytesIO(as_jpeg(image)))) is None


def test_a_very_dark_image_inside_a_border_stays_whole():
    """Levels that differ so little may be anything."""
    pixels = draw_skin(color=(40, 30, 25), lesion=0.1)
    assert found(draw_border(pixels, round_field(*MIDDLE, 0.5))) is None


@pytest.mark.parametrize("center", [(2 / 3, 0.5), (0.75, 0.52)])
def test_the_square_is_the_same_at_every_size(center):
    width, height = size = (600, 450)
    field = round_field(*center, 0.46, size)
    image = draw_border(draw_skin(size, lesion=0.33, at=center), field, 8, 0.05)
    squares = []
    for scale in (1, 2):
        content = as_jpeg(image.resize((scale * width, scale * height), Image.BICUBIC))
        for image_size in (96, 128, 192, 225):
            rgb, size, divisor = decode_scaled(Image.open(io.BytesIO(content)), image_size)
            exact = [value / divisor for value in size]
            square = np.array(find_visible_square(rgb, exact))
            squares.append(450 * square / min(exact))
    assert np.ptp(squares, axis=0).max() < 1


def test_a_mirrored_or_turned_image_has_a_mirrored_or_turned_square():
    image = draw_border(draw_skin(lesion=0.1), round_field(0.75, 0.45, 0.4))
    left, top, side_length = found(image)
    mirrored = found(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert mirrored == pytest.approx((4 / 3 - left - side_length, top, side_length), abs=0.01)
    turned = found(image.transpose(Image.Transpose.TRANSPOSE))
    assert turned == pytest.approx((top, left, side_length), abs=0.01)


def test_an_image_with_a_border_is_loaded_without_it_and_the_mask_is_cut_like_it(tmp_path):
    x, y = grid()
    at = (0.75, 0.45)
    pixels = draw_skin(lesion=0, at=at)
    lesion = np.hypot(x - at[0] - 0.08, y - at[1]) < 0.15
    pixels[lesion] = LESION
    image = draw_border(pixels, round_field(*at, 0.42))
    image.save(tmp_path / "image.png")
    # The mask may have another size than its image.
    Image.fromarray(lesion).resize((2 * WIDTH, 2 * HEIGHT)).save(tmp_path / "mask.png")
    loaded = load_bytes((tmp_path / "image.png").read_bytes(), 96)
    assert loaded.min() > 20
    mask = load_mask(tmp_path / "mask.png", 96, tmp_path / "image.png")
    seen = loaded[..., 0] < 150
    assert (mask & seen).sum() / (mask | seen).sum() > 0.95
    # Left of the middle of the image, but right of the middle of the square.
    assert np.nonzero(mask)[1].mean() / 96 == pytest.approx(
        0.5 + 0.08 / (0.42 * DIAGONAL), abs=0.02
    )
