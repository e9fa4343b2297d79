"""Images compared block by block, with blocks that may move a little against each other.

A short form of DeepMatching, Revaud et al., arXiv:1506.07656.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from data.nearest_images import Candidates
from data.parallel import in_parallel
from data.thumbnails import INVERSE, orient_each

_BLOCK = 8
# Largest shift of the whole image, pixels of 32.
_LIMIT = 6
# Images compared at once; with fewer, the threads wait for each other.
_IMAGES = 64
# A block of noise matches nothing.
_NOISE = 1.0


def match_elastically(
    found: Candidates,
    images: np.ndarray,
    other: np.ndarray,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare candidates.

    Args:
        found: the candidates.
        images: details, float32 `[images, side_length, side_length]`; 4 blocks of 8 a side.
        other: details of the images that the second indices mean.
        on_progress: called with the number of second images that are done and the total.

    Returns:
        Similarity of each, float32; shift from the first, turned, to the second in pixels, int
        `[pairs, 2]`, x and y.
    """
    similarity = np.zeros(len(found.first), np.float32)
    shifts = np.zeros((len(found.first), 2), int)
    size = 2 * _LIMIT + 1
    order = np.argsort(found.second, kind="stable")
    starts = np.flatnonzero(np.diff(found.second[order], prepend=-1))

    def match(same_second: np.ndarray) -> None:
        windows = _windows(other[found.second[same_second[0]]])
        for start in range(0, len(same_second), _IMAGES):
            pairs = same_second[start : start + _IMAGES]
            turned = orient_each(images[found.first[pairs]], INVERSE[found.orientation[pairs]])
            surface = _compare(turned, windows)
            best = surface.argmax(1)
            similarity[pairs] = surface[np.arange(len(pairs)), best]
            shifts[pairs] = np.stack([best % size, best // size], 1) - _LIMIT

    for _ in in_parallel(match, np.split(order, starts[1:]) if len(order) else [], on_progress):
        pass
    return similarity, shifts


def _windows(image: np.ndarray) -> np.ndarray:
    """Return what each block may meet, `[blocks, blocks, pixels of a block, shifts]`."""
    blocks, size = len(image) // _BLOCK, 2 * _LIMIT + 1
    views = sliding_window_view(np.pad(image, _LIMIT), (_BLOCK, _BLOCK))
    unit = _unit(views.reshape(*views.shape[:2], -1))
    around = sliding_window_view(unit, (size, size), (0, 1))[::_BLOCK, ::_BLOCK]
    return around.reshape(blocks, blocks, _BLOCK * _BLOCK, size * size)


def _compare(images: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Return the similarity at each shift, `[images, shifts]`."""
    blocks, size = len(windows), 2 * _LIMIT + 1
    parts = images.reshape(-1, blocks, _BLOCK, blocks, _BLOCK).transpose(1, 3, 0, 2, 4)
    parts = _unit(parts.reshape(blocks, blocks, len(images), -1))
    surface = np.maximum(parts @ windows, 0).reshape(blocks, blocks, -1, size, size)
    while len(surface) > 1:
        surface = _spread(surface)
        surface = surface[::2] + surface[1::2]
        surface = (surface[:, ::2] + surface[:, 1::2]) / 4
    return surface.reshape(len(images), -1)


def _spread(surface: np.ndarray) -> np.ndarray:
    """Let a block move by a pixel: the maximum of each shift and its neighbors."""
    for view in (lambda values: values, lambda values: values.swapaxes(-1, -2)):
        spread = surface.copy()
        before, after = view(surface), view(spread)
        np.maximum(after[..., 1:], before[..., :-1], out=after[..., 1:])
        np.maximum(after[..., :-1], before[..., 1:], out=after[..., :-1])
        surface = spread
    return surface


def _unit(blocks: np.ndarray) -> np.ndarray:
    return blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + np.float32(_NOISE))
