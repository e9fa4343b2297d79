"""Images laid over each other by an affine transform, many pairs at once.

Each block of the first image looks for its place in the second. Blocks of the same lesion agree on
one affine transform; blocks of different lesions end up anywhere.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_CELLS = 8
# Blocks of two cells a side, which overlap.
_SIDE = _CELLS - 1
_BLOCKS = _SIDE**2
# Centers of the blocks, and the terms of an affine function, in halves of the side length.
_CENTERS = np.arange(1, _CELLS) * (2 / _CELLS) - 1
_TERMS = np.stack(
    [*(axis.ravel() for axis in np.meshgrid(_CENTERS, _CENTERS)), np.ones(_BLOCKS)], 1
).astype(np.float32)
# Distortions are held back a little, shifts hardly.
_STIFFNESS = np.diag([0.06, 0.06, 0.004]).astype(np.float32)
_ITERATIONS = 4
# Mean square of details: less is nothing to compare by, and noise.
_EMPTY = 0.002
_NOISE = 0.02


@dataclass(frozen=True)
class Matches:
    """What the blocks of some pairs of images found.

    Attributes:
        correlation: of each block at its best place, float32 `[pairs, blocks]`, -1..1.
        error: distance of that place from the transform, pixels, float32 `[pairs, blocks]`.
        known: bool `[pairs, blocks]`; False where one of the images shows nothing.
    """

    correlation: np.ndarray
    error: np.ndarray
    known: np.ndarray


def match_blocks(
    first: np.ndarray, second: np.ndarray, transforms: np.ndarray, *, limit: int, tolerance: float
) -> tuple[np.ndarray, Matches]:
    """Improve affine transforms from the first images to the second by one step.

    Args:
        first: details, float32 `[pairs, side_length, side_length]`; a multiple of 8 pixels.
        second: of the same shape.
        transforms: float32 `[pairs, 2, 3]`, origin in the center of the images, in pixels.
        limit: how far a block looks around, pixels.
        tolerance: error at which a block counts a quarter, pixels.

    Returns:
        The new transforms and the matches.
    """
    pairs, size = first.shape[:2]
    warped = warp(second, transforms)
    correlation, known = _correlate(first, warped, limit)
    best = correlation.argmax(1)
    places = np.stack([best % (2 * limit + 1), best // (2 * limit + 1)], 2) - limit
    highest = np.take_along_axis(correlation, best[:, None], 1)[:, 0]
    weights = np.maximum(highest, 0) ** 2 * known
    change, error = _fit(places.astype(np.float32), weights, tolerance)
    step = np.tile(np.eye(3, dtype=np.float32), (pairs, 1, 1))
    step[:, :2] += change.swapaxes(1, 2) / np.array([size / 2, size / 2, 1], np.float32)
    last = np.tile(np.array([[[0, 0, 1]]], np.float32), (pairs, 1, 1))
    transforms = (np.concatenate([transforms, last], 1) @ step)[:, :2]
    return transforms, Matches(highest, error, known)


def warp(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Read images at transformed pixels, bilinearly.

    Args:
        images: float32 `[pairs, side_length, side_length]`.
        transforms: float32 `[pairs, 2, 3]`, origin in the center, in pixels.

    Returns:
        float32 of the same shape, 0 where the pixel is outside.
    """
    size = images.shape[-1]
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    grid = np.stack([*np.meshgrid(axis, axis), np.ones((size, size), np.float32)])
    x, y = np.moveaxis(transforms @ grid.reshape(3, -1), 1, 0) + np.float32((size - 1) / 2)
    inside = (x >= 0) & (x <= size - 1) & (y >= 0) & (y <= size - 1)
    left = np.clip(x, 0, size - 2).astype(np.int32)
    top = np.clip(y, 0, size - 2).astype(np.int32)
    right_part, lower_part = x - left, y - top
    flat = images.ravel()
    index = np.arange(len(images))[:, None] * size * size + top * size + left

    def row(start: np.ndarray) -> np.ndarray:
        here = flat.take(start)
        return here + (flat.take(start + 1) - here) * right_part

    upper = row(index)
    values = (upper + (row(index + size) - upper) * lower_part) * inside
    return values.astype(np.float32).reshape(images.shape)


def _correlate(first: np.ndarray, second: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of the blocks at all places, and which blocks show something.

    Returns:
        float32 `[pairs, places, blocks]` and bool `[pairs, blocks]`.
    """
    pairs, size = first.shape[:2]
    reach = 2 * limit + 1
    around = np.pad(second, ((0, 0), (limit, limit), (limit, limit)))
    power = _block_means(first * first)
    # At all places at once; then the products, one row of places at a time.
    other_power = _shifted_means(size, limit).T @ (around * around) @ _shifted_means(size, limit)
    shape = (pairs, reach, _SIDE, reach, _SIDE)
    other_power = other_power.reshape(shape).swapaxes(2, 3).reshape(pairs, reach * reach, _BLOCKS)
    windows = sliding_window_view(around, size, 2)
    result = np.empty((pairs, reach, reach, _BLOCKS), np.float32)
    for y in range(reach):
        products = first[:, None] * windows[:, y : y + size].swapaxes(1, 2)
        result[:, y] = _block_means(products.reshape(-1, size, size)).reshape(pairs, reach, -1)
    result = result.reshape(pairs, reach * reach, _BLOCKS)
    result /= np.sqrt((power[:, None] + _NOISE) * (other_power + _NOISE))
    known = (power > _EMPTY) & (other_power[:, reach * limit + limit] > _EMPTY)
    return result, known


def _block_means(images: np.ndarray) -> np.ndarray:
    size = images.shape[-1]
    means = _means(size)
    columns = (images.reshape(-1, size) @ means).reshape(len(images), size, _SIDE)
    return (means.T @ columns).reshape(len(images), -1)


@lru_cache
def _means(size: int) -> np.ndarray:
    """Return the matrix that averages a row of pixels in each block."""
    cell = size // _CELLS
    means = np.kron(np.eye(_CELLS), np.full((cell, 1), 0.5 / cell)).astype(np.float32)
    return (means[:, 1:] + means[:, :-1]).astype(np.float32)


@lru_cache
def _shifted_means(size: int, limit: int) -> np.ndarray:
    """Return the matrix that averages a padded row in each block at each shift."""
    reach = 2 * limit + 1
    shifted = np.zeros((size + 2 * limit, reach, _SIDE), np.float32)
    for shift in range(reach):
        shifted[shift : shift + size, shift] = _means(size)
    return shifted.reshape(len(shifted), -1)


def _fit(
    places: np.ndarray, weights: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit affine functions to places; those far from it count little (Geman and McClure).

    Returns:
        Coefficients, float32 `[pairs, 3, 2]`, and the distance of each block.
    """
    trust = np.ones_like(weights)
    for iteration in range(_ITERATIONS):
        weighted = _TERMS.T * (weights * trust)[:, None]
        change = np.linalg.solve(weighted @ _TERMS + _STIFFNESS, weighted @ places)
        error = np.linalg.norm(places - _TERMS @ change, axis=2)
        scale = tolerance * (2 if iteration < _ITERATIONS // 2 else 1)
        trust = 1 / (1 + (error / scale) ** 2) ** 2
    return change, error
