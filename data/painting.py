"""Rendering of synthetic dermatoscopic images: skin, light, hairs and a lesion in the middle."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# A lesion is generated once, on a square tile of this side length in pixels; half of it is REACH
# lesion radii.
TILE_SIZE, REACH = 160, 1.75

_WIDTH, _HEIGHT = 200, 150


@dataclass(frozen=True)
class Lesion:
    """What all images of a lesion have in common.

    Attributes:
        reflectance: float32 `[TILE_SIZE, TILE_SIZE, 3]`, fraction of the light reflected by bare
            skin that the lesion reflects; 1 is bare skin.
        radius: in half image heights.
        skin: float32 `[3]`, color of the skin around the lesion, RGB 0..1.
        redness: redness of the skin around the lesion; 0 is even skin.
    """

    reflectance: np.ndarray
    radius: float
    skin: np.ndarray
    redness: float


def render_image(rng: np.random.Generator, lesion: Lesion) -> Image.Image:
    """Render an image of a lesion, with its own position, light, hairs and instrument.

    Args:
        rng: source of all randomness in this image.
        lesion: from `data.lesions.generate_lesion`.

    Returns:
        An RGB image, 200 x 150.
    """
    size = (_WIDTH, _HEIGHT)
    pixels = _render_skin(rng, lesion) * _place_lesion(rng, lesion)
    if rng.random() < 0.55:
        tone = np.float32((0.16, 0.11, 0.09)) + rng.beta(1, 3) * np.float32((0.4, 0.3, 0.2))
        cover = _draw_hairs(rng) * rng.uniform(0.5, 0.9)
        pixels += cover[..., None] * (tone - pixels)
    if rng.random() < 0.15:
        pixels += _draw_ruler(rng)[..., None] * (0.12 - pixels)
    light = rng.normal(1.02, 0.06) * (1 + rng.uniform(0.02, 0.08) * make_noise(rng, 1.5, size))
    cast = np.float32(np.exp(rng.normal(0, (0.03, 0.03, 0.05))))
    pixels *= _make_vignette(rng)[..., None] * light[..., None] * cast
    pixels += rng.uniform(0.004, 0.014) * rng.standard_normal(pixels.shape, np.float32)
    image = Image.fromarray((255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))


def _render_skin(rng: np.random.Generator, lesion: Lesion) -> np.ndarray:
    """Return bare skin, float `[_HEIGHT, _WIDTH, 3]`, RGB about 0..1."""
    size = (_WIDTH, _HEIGHT)
    relief = sum(
        strength * make_noise(rng, cells, size)
        for strength, cells in ((0.012, 12), (0.014, 35), (0.018, 80))
    )
    flush = np.clip(0.5 + 0.6 * make_noise(rng, 5, size) + 0.6 * make_noise(rng, 18, size), 0, 3)
    redness = -lesion.redness * np.log(np.float32((0.95, 0.78, 0.80)))
    return lesion.skin * (1 + relief[..., None]) * np.exp(-flush[..., None] * redness)


def _place_lesion(rng: np.random.Generator, lesion: Lesion) -> np.ndarray:
    """Return the lesion's reflectance, rotated, scaled and shifted into the image."""
    radius = lesion.radius * _HEIGHT / 2 * rng.uniform(0.85, 1.2)
    scale, angle = TILE_SIZE / 2 / REACH / radius, rng.uniform(0, 2 * np.pi)
    shift = tuple(rng.normal(0, 0.05 * _HEIGHT, 2))
    # What lies outside the tile becomes 0, so bare skin has to be 0 meanwhile.
    planes = np.ascontiguousarray((lesion.reflectance - 1).transpose(2, 0, 1))
    size = (_WIDTH, _HEIGHT)
    rotated = [_rotate(Image.fromarray(plane), size, scale, angle, shift) for plane in planes]
    return 1 + np.stack(rotated, axis=-1)


def _draw_hairs(rng: np.random.Generator) -> np.ndarray:
    """Return the coverage by curved strokes, mostly parallel, float `[_HEIGHT, _WIDTH]`."""
    image = Image.new("L", (2 * _WIDTH, 2 * _HEIGHT))
    draw = ImageDraw.Draw(image)
    main_angle = rng.uniform(0, np.pi)
    t = np.linspace(-1, 1, 20)[:, None]
    for _ in range(min(30, 1 + int(rng.exponential(7)))):
        angle = main_angle + rng.normal(0, 0.5)
        direction = np.array((math.cos(angle), math.sin(angle)))
        bend = direction[::-1] * (-1, 1) * rng.normal(0, 25)
        middle = rng.uniform((0, 0), image.size)
        points = middle + t * direction * rng.uniform(30, 170) + t**2 * bend
        draw.line([*map(tuple, points)], fill=230, width=int(rng.integers(1, 4)))
    return np.asarray(image.reduce(2), np.float32) / 255


def _draw_ruler(rng: np.random.Generator) -> np.ndarray:
    """Return the coverage by dark ticks across a corner, float `[_HEIGHT, _WIDTH]`."""
    image = Image.new("L", (2 * _WIDTH, 2 * _HEIGHT))
    draw = ImageDraw.Draw(image)
    angle, step = rng.uniform(0.4, 1.1), rng.uniform(14, 24)
    along, across = (math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))
    for tick in range(-12, 24):
        x = 2 * _WIDTH * 0.08 + tick * step * along[0]
        y = 2 * _HEIGHT * 0.25 + tick * step * along[1]
        length = 14 if tick % 5 else 22
        end = (x - length * across[0], y - length * across[1])
        draw.line([(x, y), end], fill=210, width=3)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.ROTATE_180)
    return np.asarray(image.reduce(2), np.float32) / 255


def _make_vignette(rng: np.random.Generator) -> np.ndarray:
    """Return the light that the round aperture lets through, float `[_HEIGHT, _WIDTH]`."""
    x = np.arange(_WIDTH)[None, :] - _WIDTH / 2 - rng.normal(0, 4)
    y = np.arange(_HEIGHT)[:, None] - _HEIGHT / 2 - rng.normal(0, 4)
    distance = np.hypot(x, y) / _HEIGHT
    light = 1 - rng.uniform(0, 0.35) * np.clip(distance, 0, 1) ** 2
    if rng.random() < 0.3:
        light *= sigmoid((rng.uniform(0.66, 0.8) - distance) * rng.uniform(25, 90))
    return np.float32(light)


def make_noise(
    rng: np.random.Generator, cells: float, size: tuple[int, int] = (TILE_SIZE, TILE_SIZE)
) -> np.ndarray:
    """Make smooth random noise of mean 0 and standard deviation 1.

    Args:
        rng: source of all randomness.
        cells: number of cells, each about as large as a peak, across the width.
        size: width and height of the result, pixels.

    Returns:
        float32 `[height, width]`.
    """
    grid_size = math.ceil(1.42 * cells) + 6
    grid = Image.fromarray(rng.standard_normal((grid_size, grid_size), dtype=np.float32))
    # Rotated, because a grid parallel to the image's edges is visible. Five pixels per cell are
    # enough for smooth enlargement, and much faster.
    small = tuple(math.ceil(length / max(1, size[0] // (5 * cells))) for length in size)
    rotated = _rotate(grid, small, cells / small[0], rng.uniform(0, 2 * np.pi))
    noise = np.asarray(Image.fromarray(rotated).resize(size, Image.Resampling.BICUBIC))
    return (noise - noise.mean()) / noise.std()


def _rotate(
    image: Image.Image,
    size: tuple[int, int],
    scale: float,
    angle: float,
    shift: tuple[float, float] = (0, 0),
) -> np.ndarray:
    """Return an image rotated about the center, which is moved by `shift`; 0 outside it.

    `scale` is the number of the image's pixels per pixel of the result.
    """
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    x, y = size[0] / 2 + shift[0], size[1] / 2 + shift[1]
    matrix = (a, b, image.width / 2 - a * x - b * y, -b, a, image.height / 2 + b * x - a * y)
    return np.asarray(
        image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return the logistic function of each value."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
