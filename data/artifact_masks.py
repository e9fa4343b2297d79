"""Masks of hair and rulers, for `data.random_artifacts` to draw on training images."""

import math

import numpy as np
from PIL import Image, ImageDraw

# Drawn larger and scaled down, so that lines have soft edges.
_CANVAS_SIZE = 384
_MAX_HAIRS = 14
# A mask in this many shows a ruler, the others hair.
_MASKS_PER_RULER = 5


def draw_masks(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Draw masks of hair and rulers.

    Args:
        count: number of masks.
        size: side length, pixels.
        seed: of what is drawn.

    Returns:
        uint8 `[count, size, size]`, 0 where the skin is seen, up to 255 where it is covered.
    """
    masks = []
    for i in range(count):
        canvas = Image.new("L", (_CANVAS_SIZE, _CANVAS_SIZE))
        rng = np.random.default_rng([seed, i])
        draw = _draw_ruler if i % _MASKS_PER_RULER == 0 else _draw_hair
        draw(ImageDraw.Draw(canvas), rng)
        masks.append(np.asarray(canvas.resize((size, size), Image.Resampling.BOX)))
    return np.stack(masks)


def _draw_hair(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw curves that mostly lie in one direction."""
    main_angle, steps = rng.uniform(0, np.pi), np.linspace(-0.5, 0.5, 24)
    for _ in range(rng.integers(1, _MAX_HAIRS + 1)):
        angle, length = main_angle + rng.normal(0, 0.5), rng.uniform(0.3, 1.3)
        along = steps * length
        across = rng.normal(0, 0.5) * along**2 + rng.normal(0, 0.4) * along**3
        x = rng.uniform(0, 1) + along * math.cos(angle) - across * math.sin(angle)
        y = rng.uniform(0, 1) + along * math.sin(angle) + across * math.cos(angle)
        points = [*zip((x * _CANVAS_SIZE).tolist(), (y * _CANVAS_SIZE).tolist(), strict=True)]
        width, cover = int(rng.integers(1, 6)), int(rng.integers(130, 256))
        draw.line(points, fill=cover, width=width, joint="curve")


def _draw_ruler(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Draw the ticks of a scale along a line near one edge."""
    angle, edge = rng.normal(0, 0.15), rng.uniform(0.05, 0.25)
    spacing, cover = rng.uniform(0.03, 0.09), int(rng.integers(130, 256))
    width, first = int(rng.integers(2, 5)), rng.uniform(-0.2, 0.1)
    cos, sin = math.cos(angle), math.sin(angle)
    for tick in range(int(1.4 / spacing)):
        start = np.array([0.5, edge]) + (first + tick * spacing - 0.5) * np.array([cos, sin])
        length = 0.07 if tick % 5 == 0 else 0.04
        end = start - length * np.array([-sin, cos])
        points = [*(start * _CANVAS_SIZE).tolist(), *(end * _CANVAS_SIZE).tolist()]
        draw.line(points, fill=cover, width=width)
