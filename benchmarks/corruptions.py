"""Corruptions and artifacts of dermatoscopic images, in five strengths, for `robustness`.

All lengths are fractions of the side length, or pixels of an image of a fixed size, so that a
strength means the same for images of any size. What is random depends on the seed alone, not on
the strength: the hairs of strength 1 are among those of strength 5.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.artifacts import ARTIFACTS, scaled_shape, to_uint8
from data.decoders import open_image

STRENGTHS = (1, 2, 3, 4, 5)
# Pixels per side length of what is stored as JPEG: those of HAM10000's originals.
_JPEG_SIZE = 450
# Grains of noise per side length: cameras smooth the noise of single pixels.
_GRAIN_SIZE = 256


def corrupt(image: np.ndarray, kind: str, strength: int, *, seed: int) -> np.ndarray:
    """Corrupt an image.

    Args:
        image: uint8 `[height, width, 3]`, 0..255.
        kind: a key of `CORRUPTIONS` or `ARTIFACTS`.
        strength: 1 to 5.
        seed: at least 0; the same seed gives the same corruption.

    Returns:
        uint8 `[height, width, 3]`, 0..255.

    Raises:
        ValueError: there is no such kind or strength.
    """
    kinds = CORRUPTIONS | ARTIFACTS
    if kind not in kinds or strength not in STRENGTHS:
        raise ValueError(
            f"expected a kind among {', '.join(kinds)} and a strength of 1 to 5, received "
            f"{kind!r} and {strength!r}"
        )
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    return kinds[kind](image, strength, rng)


def scale_colors(image: np.ndarray, gains: float | Sequence[float]) -> np.ndarray:
    """Multiply all pixels, or each of the three channels, by a gain."""
    return to_uint8(image * np.float32(gains))


def adjust_gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    """Raise pixels, as fractions of white, to a power; above 1 is darker."""
    table = to_uint8(255 * (np.arange(256) / 255) ** exponent)
    return table[image]


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth with a Gaussian of this standard deviation, in side lengths."""
    radius = sigma * min(image.shape[:2])
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Store as a JPEG file of 450 pixels per side length, and read it."""
    buffer = io.BytesIO()
    scaled = _resize(image, scaled_shape(image, _JPEG_SIZE))
    Image.fromarray(scaled).save(buffer, "JPEG", quality=quality)
    with open_image(buffer) as stored:
        return _resize(np.asarray(stored), image.shape[:2])


def downsample(image: np.ndarray, size: int) -> np.ndarray:
    """Scale to this side length, if it is smaller, and back."""
    if size >= min(image.shape[:2]):
        return image.copy()
    return _resize(_resize(image, scaled_shape(image, size)), image.shape[:2])


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate counterclockwise about the center; what comes from outside is reflected."""
    height, width = image.shape[:2]
    diagonal = math.hypot(height, width)
    y, x = (math.ceil((diagonal - length) / 2) + 2 for length in (height, width))
    padded = Image.fromarray(np.pad(image, ((y, y), (x, x), (0, 0)), "reflect"))
    rotated = np.asarray(padded.rotate(degrees, Image.Resampling.BICUBIC))
    return rotated[y : y + height, x : x + width]


def _brightness(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Brighten or darken: up to a factor of 1.5."""
    return scale_colors(image, math.exp(0.08 * strength * _sign(rng)))


def _gamma(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Brighten or darken the middle tones: an exponent of up to 1.65, or its inverse."""
    return adjust_gamma(image, math.exp(0.1 * strength * _sign(rng)))


def _white_balance(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Make colors warmer or cooler, with some green or magenta: up to a quarter per channel."""
    tint = rng.uniform(-0.4, 0.4)
    shift = _sign(rng) * np.array((1.0, 0.0, -1.0)) + tint * np.array((0.5, -1.0, 0.5))
    return scale_colors(image, np.exp(0.042 * strength * shift))


def _blur(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Blur, as out of focus, with a standard deviation of up to 1.25 % of the side length."""
    return blur(image, 0.0025 * strength)


def _noise(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of a standard deviation of up to 15, in 256 grains per side length."""
    height, width = scaled_shape(image, _GRAIN_SIZE)
    noise = 3 * strength * rng.standard_normal((3, height, width), np.float32)
    size = image.shape[1::-1]
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in noise]
    return to_uint8(image + np.stack(planes, axis=-1))


def _jpeg(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Compress as JPEG, down to a quality of 12."""
    return compress(image, (70, 45, 28, 18, 12)[strength - 1])


def _downsampling(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Reduce the resolution, down to 44 pixels per side length."""
    return downsample(image, (128, 96, 72, 56, 44)[strength - 1])


def _rotation(image: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Rotate by up to 45 degrees, as far from all quarter turns as possible."""
    return rotate(image, 9 * strength * _sign(rng))


CORRUPTIONS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "brightness": _brightness,
    "gamma": _gamma,
    "white balance": _white_balance,
    "blur": _blur,
    "noise": _noise,
    "JPEG": _jpeg,
    "downsampling": _downsampling,
    "rotation": _rotation,
}


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
