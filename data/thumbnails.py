"""Small copies of images, as the search for near-duplicates compares them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image

SIDE_LENGTH = 64
# Images whose brightness hardly varies, in levels of 255, show nothing that could be compared.
_FLAT = 2.0
# Dark levels are noise: the logarithm is taken of the level plus this.
_DARK = 20.0
_BRIGHTNESS = (60 * np.log(np.arange(256) + _DARK)).astype(np.float32)
# Dark corners: darker than a level of 60, and far from the center.
_DARK_BRIGHTNESS = _BRIGHTNESS[60]
_DARK_RADIUS = 0.75
_CHUNK = 200
# The symmetries of a square, then turns by an angle to either side, radians.
ORIENTATIONS = 10
_ANGLE = float(np.deg2rad(25))
# What undoes each orientation.
INVERSE = np.array([0, 3, 2, 1, 4, 5, 6, 7, 9, 8])


@dataclass(frozen=True)
class Thumbnails:
    """The central squares of some images, scaled.

    Attributes:
        pixels: uint8 `[images, SIDE_LENGTH, SIDE_LENGTH, 3]`, RGB 0..255.
        usable: bool `[images]`; False for a file that cannot be read and for an image that is flat.
    """

    pixels: np.ndarray
    usable: np.ndarray

    def take(self, indices: np.ndarray) -> "Thumbnails":
        """Return those of some of the images."""
        return Thumbnails(self.pixels[indices], self.usable[indices])

    def append(self, others: "Thumbnails") -> "Thumbnails":
        """Return these, followed by others."""
        pixels = np.concatenate([self.pixels, others.pixels])
        return Thumbnails(pixels, np.concatenate([self.usable, others.usable]))


def make_thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Scale the central square of an image.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB 0..255.

    Returns:
        uint8 `[SIDE_LENGTH, SIDE_LENGTH, 3]`.
    """
    height, width = pixels.shape[:2]
    side_length = min(height, width)
    left, top = (width - side_length) / 2, (height - side_length) / 2
    box = (left, top, left + side_length, top + side_length)
    size = (SIDE_LENGTH, SIDE_LENGTH)
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, box=box))


def collect_thumbnails(thumbnails: Iterable[np.ndarray | None], count: int) -> Thumbnails:
    """Put thumbnails into one array, each as soon as it is there.

    Args:
        thumbnails: from `make_thumbnail`, None where a file cannot be read.
        count: the number of thumbnails.

    Returns:
        All of them; black where there is none.
    """
    pixels = np.zeros((count, SIDE_LENGTH, SIDE_LENGTH, 3), np.uint8)
    usable = np.zeros(count, bool)
    for i, thumbnail in enumerate(thumbnails):
        if thumbnail is not None:
            pixels[i] = thumbnail
            usable[i] = thumbnail.std(axis=(0, 1)).max() > _FLAT
    return Thumbnails(pixels, usable)


def brightness(pixels: np.ndarray, side_length: int) -> np.ndarray:
    """Return the logarithm of the levels, which turns another exposure into a constant.

    Args:
        pixels: uint8 `[images, SIDE_LENGTH, SIDE_LENGTH, 3]`.
        side_length: of the result, pixels; a divisor of `SIDE_LENGTH`.

    Returns:
        float32 `[images, 3, side_length, side_length]`.
    """
    levels = np.stack([_BRIGHTNESS[pixels[..., channel]] for channel in range(3)], 1)
    return scale_down(levels, side_length)


def scale_down(images: np.ndarray, side_length: int) -> np.ndarray:
    """Average float32 images `[..., size, size]` to `side_length`, a divisor of their size."""
    size = images.shape[-1]
    if size == side_length:
        return images
    factor = size // side_length
    means = np.kron(np.eye(side_length), np.full(factor, 1 / factor)).astype(np.float32)
    return means @ images @ means.T


def band(images: np.ndarray, fine: float, coarse: float, contrast: float) -> np.ndarray:
    """Keep details of some sizes, all with the same local contrast.

    Args:
        images: float32 `[..., side_length, side_length]`.
        fine: standard deviation in pixels of the blur that removes what is smaller; 0 for none.
        coarse: of the blur that removes what is larger.
        contrast: of the surroundings whose contrast is divided by.

    Returns:
        float32 of the same shape.
    """
    details = (_blur(images, fine) if fine else images) - _blur(images, coarse)
    # Noise stays small: 3 is a contrast of 5 %.
    return details / (np.sqrt(np.maximum(_blur(details * details, contrast), 0)) + np.float32(3))


def details(
    pixels: np.ndarray, side_length: int, fine: float, coarse: float, contrast: float
) -> np.ndarray:
    """Return `band` of the brightness of images, 0 in dark corners.

    Args:
        pixels: uint8 `[images, SIDE_LENGTH, SIDE_LENGTH, 3]`.
        side_length: of the result, pixels.
        fine: as for `band`.
        coarse: as for `band`.
        contrast: as for `band`.

    Returns:
        float32 `[images, side_length, side_length]`.
    """
    result = np.empty((len(pixels), side_length, side_length), np.float32)
    for start in range(0, len(pixels), _CHUNK):
        part = slice(start, start + _CHUNK)
        gray = brightness(pixels[part], side_length).mean(1)
        result[part] = band(gray, fine, coarse, contrast) * _find_visible(gray)
    return result


def orient(images: np.ndarray, orientation: int) -> np.ndarray:
    """Turn images.

    Args:
        images: `[..., side_length, side_length]`.
        orientation: 0..3 quarter turns; 4..7 quarter turns after mirroring; 8, 9 by `_ANGLE`.
    """
    if orientation >= 8:
        return _turn(images, orientation)
    mirrored = images[..., ::-1] if orientation >= 4 else images
    return np.rot90(mirrored, orientation % 4, (-2, -1))


def orient_each(images: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Turn each image by its own orientation, see `orient`."""
    result = images.copy()
    for orientation in np.unique(orientations[orientations > 0]):
        chosen = orientations == orientation
        result[chosen] = orient(images[chosen], orientation)
    return result


def rotation(orientation: int) -> np.ndarray:
    """Return the matrix by which orientation 8 or 9 reads an image, the identity for others."""
    angle = {8: _ANGLE, 9: -_ANGLE}.get(int(orientation), 0.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]], np.float32)


def _turn(images: np.ndarray, orientation: int) -> np.ndarray:
    flat = images.reshape(*images.shape[:-2], -1)
    result = np.zeros(flat.shape, np.float32)
    for index, weight in _corners(images.shape[-1], orientation):
        result += flat[..., index] * weight
    return result.reshape(images.shape)


@lru_cache
def _corners(size: int, orientation: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the four pixels that each pixel of a turned image lies between, and their weights."""
    axis = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    x, y = rotation(orientation) @ grid + (size - 1) / 2
    corners = []
    for column, row in product((0, 1), repeat=2):
        left, top = np.floor(x).astype(int) + column, np.floor(y).astype(int) + row
        weight = (1 - abs(x - left)) * (1 - abs(y - top))
        weight *= (left >= 0) & (left < size) & (top >= 0) & (top < size)
        index = np.clip(top, 0, size - 1) * size + np.clip(left, 0, size - 1)
        corners.append((index, weight.astype(np.float32)))
    return corners


def _find_visible(gray: np.ndarray) -> np.ndarray:
    """Tell skin, 1, from the dark corners that a dermatoscope leaves, and from their edge, 0."""
    size = gray.shape[-1]
    axis = np.linspace(-1, 1, size)
    outside = np.hypot(axis[:, None], axis) > _DARK_RADIUS
    dark = ((gray < _DARK_BRIGHTNESS) & outside).astype(np.float32)
    return (_blur(dark, size / 32) < 0.02).astype(np.float32)


def _blur(images: np.ndarray, deviation: float) -> np.ndarray:
    matrix = _blur_matrix(images.shape[-1], deviation)
    return matrix @ images @ matrix.T


@lru_cache
def _blur_matrix(size: int, deviation: float) -> np.ndarray:
    """Return the matrix that blurs a column; the image goes on mirrored outside."""
    margin = min(int(3 * deviation) + 1, size - 1)
    around = np.pad(np.eye(size), ((margin, margin), (0, 0)), mode="reflect")
    kernel = np.exp(-((np.arange(-margin, margin + 1) / deviation) ** 2) / 2)
    kernel /= kernel.sum()
    rows = [kernel @ around[row : row + len(kernel)] for row in range(size)]
    return np.stack(rows).astype(np.float32)
