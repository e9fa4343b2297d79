"""Artifacts of dermatoscopic images, drawn in five strengths; a part of `benchmarks.corruptions`.

They are drawn on a canvas of fixed size, which is then scaled to the image.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

# Pixels per side length of the canvas.
_CANVAS_SIZE = 768
# Bubbles have soft lines: half of the pixels are enough.
_BUBBLE_CANVAS_SIZE = _CANVAS_SIZE // 2
# Colors of hair.
_BROWN, _BLACK = np.float32((78, 50, 34)), np.float32((22, 17, 15))
# What passes through ink on skin, RGB: violet and blue surgical markers, and a gray one.
_INKS = ((0.32, 0.16, 0.58), (0.17, 0.22, 0.58), (0.30, 0.28, 0.34))


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Round pixels, and clip them to 0..255."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def scaled_shape(image: np.ndarray, side_length: int) -> tuple[int, int]:
    """Return height and width of an image whose shorter side is scaled to this length."""
    scale = side_length / min(image.shape[:2])
    return round(image.shape[0] * scale), round(image.shape[1] * scale)


def hair(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Draw up to 28 curved hairs, brown or black, mostly in one direction, and their shadows."""
    canvas, extent = _make_canvas(image)
    main_angle, tone = rng.uniform(0, np.pi), _blend(_BLACK, rng.uniform(0, 1), _BROWN)
    t = np.linspace(-1, 1, 32)[:, None]
    hairs = []
    for _ in range((3, 6, 11, 18, 28)[strength - 1]):
        angle, opacity = main_angle + rng.normal(0, 0.4), int(rng.integers(150, 250))
        length, width = rng.uniform(0.4, 1.2), rng.uniform(0.0035, 0.008)
        direction, normal = _direction(angle), _direction(angle + np.pi / 2)
        middle = rng.uniform(0, 1, 2) * extent
        bend = rng.normal(0, 0.09) * t**2 + rng.normal(0, 0.03) * t**3
        points = middle + t * length / 2 * direction + bend * normal
        # From the root to the thin end.
        half = width / 2 * (1 - 0.75 * ((t + 1) / 2) ** 2) * normal
        outline = np.concatenate([points + half, (points - half)[::-1]])
        hairs.append((opacity, [*map(tuple, _CANVAS_SIZE * outline)]))
    draw = ImageDraw.Draw(canvas)
    # Darkest last, as where two hairs cross.
    for opacity, outline in sorted(hairs):
        draw.polygon(outline, fill=opacity)
    # Right below each hair, by a pixel of the quarter canvas.
    shadow = ImageChops.offset(_spread(canvas, 0.006), 1)
    pixels = image * (1 - 0.3 * _cover(shadow, image))
    return to_uint8(_blend(pixels, _cover(canvas, image), tone))


def ruler(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a millimeter scale along one side, closer to the lesion and darker with each strength.

    From strength 4 on, it is printed on a white strip.
    """
    quarters, tilt = int(rng.integers(4)), math.radians(rng.uniform(-5, 5))
    millimeter, start = rng.uniform(0.045, 0.065), rng.uniform(0.06, 0.2)
    turned = np.rot90(image, quarters)
    scale, (width, height) = _make_canvas(turned)
    strip, _ = _make_canvas(turned)
    inset, long = 0.05 + 0.025 * strength, 0.03 + 0.005 * strength
    along, across = _direction(tilt), _direction(tilt - np.pi / 2)

    def place(x: float, y: float) -> tuple[float, float]:
        """Return a point of the canvas: x along the scale, y towards the middle of the image."""
        point = (width / 2, height) + (x - width / 2) * along + (y + inset) * across
        return tuple(_CANVAS_SIZE * point)

    draw, thickness = ImageDraw.Draw(scale), round((0.004 + 0.0005 * strength) * _CANVAS_SIZE)
    ticks = int((width - start - 0.06) / millimeter)
    lines = [(start, 0, start + ticks * millimeter, 0)]
    for tick in range(ticks + 1):
        x = start + tick * millimeter
        lines.append((x, 0, x, long if tick % 5 == 0 else 0.6 * long))
    for x, y, end_x, end_y in lines:
        draw.line([place(x, y), place(end_x, end_y)], fill=255, width=thickness)
    draw.text(place(start, -0.01), "mm", fill=255, font=_font())
    top = long + 0.015
    corners = [place(-1, -1), place(-1, top), place(width + 1, top), place(width + 1, -1)]
    ImageDraw.Draw(strip).polygon(corners, fill=255)
    white, black = (0, 0, 0, 0.45, 0.85)[strength - 1], 0.45 + 0.1 * strength
    pixels = _blend(turned, white * _cover(strip, turned), np.float32((238, 236, 230)))
    pixels = _blend(pixels, black * _cover(scale, turned), np.float32((30, 28, 28)))
    return np.rot90(to_uint8(pixels), -quarters)


def ink(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Draw up to nine dots and strokes of a surgical marker around the lesion."""
    canvas, extent = _make_canvas(image)
    draw = ImageDraw.Draw(canvas)
    passing = np.float32(_INKS[rng.choice(3, p=(0.6, 0.25, 0.15))])
    grain, first = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    for mark in range((1, 2, 4, 6, 9)[strength - 1]):
        # The golden angle spreads any number of marks evenly.
        around = first + 2.4 * mark + rng.normal(0, 0.15)
        reach = rng.uniform(0.38, 0.52) - 0.012 * strength
        center = extent / 2 + reach * _direction(around)
        _draw_mark(draw, center, around + np.pi / 2 + rng.normal(0, 0.3), grain, rng)
    density = 0.75 * _cover(canvas, image) + 0.4 * _cover(_spread(canvas, 0.012), image)
    return to_uint8(image * np.exp(density * np.log(passing)))


def _draw_mark(
    draw: ImageDraw.ImageDraw,
    center: np.ndarray,
    angle: float,
    grain: float,
    rng: np.random.Generator,
) -> None:
    """Draw a dot or a stroke as ink on the relief of skin: fine lines in two directions.

    Args:
        draw: of the canvas.
        center: x and y, in side lengths.
        angle: of a stroke.
        grain: the mean of both directions.
        rng: source of all randomness.
    """
    is_stroke, radius = rng.random() < 0.4, rng.uniform(0.024, 0.038)
    length, count = (rng.uniform(0.16, 0.3), 110) if is_stroke else (0.02, 38)
    middles = center + rng.uniform(-0.5, 0.5, (count, 1)) * length * _direction(angle)
    middles += rng.uniform(-1, 1, (count, 2)) * radius
    angles = grain + rng.choice((-0.6, 0.6), count) + rng.normal(0, 0.25, count)
    halves = rng.uniform(0.008, 0.024, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    ends = _CANVAS_SIZE * np.concatenate([middles - halves, middles + halves], axis=1)
    levels, widths = rng.integers(90, 240, count), rng.integers(2, 5, count)
    for line, level, width in zip(ends, levels.tolist(), widths.tolist(), strict=True):
        draw.line(line.tolist(), fill=level, width=width)


def bubbles(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Draw up to 36 bubbles of gel: clear, with a bright rim, dark lines and a highlight."""
    shape = np.array(scaled_shape(image, _BUBBLE_CANVAS_SIZE))
    layers = np.zeros((2, *shape), np.float32)
    light, clusters = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9, (3, 2))
    for _ in range((3, 7, 13, 22, 36)[strength - 1]):
        radius = min(0.075, 0.011 * math.exp(rng.exponential(0.6)))
        loose, clustered = rng.uniform(0, 1, 2), rng.normal(clusters[rng.integers(3)], 0.11)
        place = loose if rng.random() < 0.4 else clustered
        flat, angle, opacity = rng.uniform(0.75, 1), rng.uniform(0, np.pi), rng.uniform(0.6, 1)
        # What of the bubble is on the canvas, in its own radii.
        radius *= _BUBBLE_CANVAS_SIZE
        center = place * shape
        start = np.clip(center - 1.5 * radius - 1, 0, shape).astype(int)
        stop = np.clip(center + 1.5 * radius + 2, 0, shape).astype(int)
        y, x = np.mgrid[tuple(map(slice, start, stop))].astype(np.float32) + 0.5
        y, x = (y - center[0]) / radius, (x - center[1]) / radius
        a = x * math.cos(angle) + y * math.sin(angle)
        b = (y * math.cos(angle) - x * math.sin(angle)) / flat
        distance = np.hypot(a, b)
        area = layers[:, *map(slice, start, stop)]
        area *= distance > 1
        drawn = _render_bubble(x, y, distance, light=light, pixel=1 / radius)
        np.maximum(area, opacity * drawn, out=area)
    size = image.shape[1::-1]
    bright, dark = (
        np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BILINEAR))[..., None]
        for layer in layers
    )
    return to_uint8(_blend(image * (1 - dark), bright, np.float32((255, 255, 255))))


def _render_bubble(
    x: np.ndarray, y: np.ndarray, distance: np.ndarray, *, light: float, pixel: float
) -> np.ndarray:
    """Return how much of each pixel a bubble makes white and black.

    Args:
        x: float `[height, width]`, from its center, in its radii.
        y: the same downwards.
        distance: float `[height, width]`, 1 on the rim.
        light: angle that it comes from.
        pixel: size of a pixel, in radii.

    Returns:
        float `[2, height, width]`, 0..1.
    """
    facing = (1 + np.cos(np.arctan2(y, x) - light)) / 2
    line = max(0.09, 1.1 * pixel)
    rim = _bell(distance - 1, line) * (0.25 + 0.6 * facing**2)
    toward_light = _direction(light)
    spot = np.hypot(x - 0.6 * toward_light[0], y - 0.6 * toward_light[1])
    highlight = 0.9 * _bell(spot, max(0.12, 1.2 * pixel))
    bright = np.maximum.reduce([rim, highlight, 0.06 * (distance < 1)])
    inner = 0.45 * _bell(distance - 1 + 1.8 * line, line) * (1 - 0.5 * facing)
    outer = 0.3 * _bell(distance - 1 - 1.8 * line, line)
    return np.stack([bright, np.maximum(inner, outer)])


def vignette(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Darken what is outside the round field of a dermatoscope, which reaches the sides at 5."""
    height, width = image.shape[:2]
    half = min(height, width) / 2
    shift = rng.uniform(-0.03, 0.03, 2)
    soft, radius = rng.uniform(0.02, 0.08), 1.38 - 0.08 * strength
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - height / 2) / half - shift[0]
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5 - width / 2) / half - shift[1]
    distance = np.hypot(x, y)[..., None]
    fall = 0.06 * strength * _smooth_step((distance - radius + 0.35) / 0.35)
    cover = _smooth_step((distance - radius) / soft + 0.5)
    return to_uint8(_blend(image * (1 - fall), cover, np.float32((9, 7, 7))))


ARTIFACTS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "hair": hair,
    "ruler": ruler,
    "ink": ink,
    "bubbles": bubbles,
    "vignette": vignette,
}


def _direction(angle: float) -> np.ndarray:
    """Return the unit vector of an angle, x and y."""
    return np.array((math.cos(angle), math.sin(angle)))


def _bell(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((x / width) ** 2))


def _smooth_step(x: np.ndarray) -> np.ndarray:
    """Rise from exactly 0 at 0 to 1 at 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _make_canvas(image: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """Return an empty layer, and its width and height in side lengths."""
    height, width = scaled_shape(image, _CANVAS_SIZE)
    return Image.new("L", (width, height)), np.array((width, height)) / _CANVAS_SIZE


def _spread(layer: Image.Image, sigma: float) -> Image.Image:
    """Blur a layer by this standard deviation, in side lengths, at a quarter of its size."""
    return layer.reduce(4).filter(ImageFilter.GaussianBlur(sigma * _CANVAS_SIZE / 4))


def _cover(layer: Image.Image, image: np.ndarray) -> np.ndarray:
    """Return how much of each pixel of the image a layer covers, float32 `[height, width, 1]`."""
    scaled = layer.resize(image.shape[1::-1], Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32)[..., None] / 255


def _blend(pixels: np.ndarray, cover: np.ndarray | float, color: np.ndarray) -> np.ndarray:
    return pixels + cover * (color - pixels)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(0.045 * _CANVAS_SIZE)
