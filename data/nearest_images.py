"""The nearest images of each image, by coarse features and in any orientation."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from data.parallel import in_parallel
from data.thumbnails import (
    INVERSE,
    ORIENTATIONS,
    Thumbnails,
    band,
    brightness,
    orient,
    scale_down,
)

_NEIGHBORS = 50
# Features: side length, window of it, shifts of the window, components, regularization.
_SIDE_LENGTH = 16
_WINDOW = 12
_SHIFTS = ((0, 0), *product((-1, 1), repeat=2))
_COMPONENTS = 48
_REGULARIZATION = 0.1
_SAMPLE = 350
_ROWS = 250
# A score is compared with that of this number of other candidates of an image.
_LOCAL = 5


@dataclass(frozen=True)
class Candidates:
    """Pairs of images that may show the same lesion.

    Attributes:
        first: indices of images.
        second: indices of the others.
        orientation: see `data.thumbnails.orient`; it makes the second like the first.
        score: the larger, the more similar.
    """

    first: np.ndarray
    second: np.ndarray
    orientation: np.ndarray
    score: np.ndarray

    def take(self, selection: np.ndarray | slice) -> "Candidates":
        """Return some of the pairs."""
        parts = (self.first, self.second, self.orientation, self.score)
        return Candidates(*(part[selection] for part in parts))

    def join(self, other: "Candidates") -> "Candidates":
        """Return these pairs and others."""
        parts = (self.first, self.second, self.orientation, self.score)
        others = (other.first, other.second, other.orientation, other.score)
        return Candidates(*map(np.concatenate, zip(parts, others, strict=True)))

    def ranks(self, offset: int) -> np.ndarray:
        """Return the rank of each pair among the pairs of its images, best first, from 0.

        Args:
            offset: 0 if both indices mean the same images, else the number of the first ones.

        Returns:
            int `[2, pairs]`, for the first and for the second image.
        """
        images = np.concatenate([self.first, self.second + offset])
        order = np.lexsort((-np.tile(self.score, 2), images))
        starts = np.flatnonzero(np.diff(images[order], prepend=-1))
        ranks = np.empty(len(images), int)
        lengths = np.diff(starts, append=len(images))
        ranks[order] = np.arange(len(images)) - np.repeat(starts, lengths)
        return ranks.reshape(2, -1)

    def excess(self, offset: int) -> np.ndarray:
        """Return by how much each score exceeds those of the best pairs of both of its images.

        Smooth images are similar to many others, and none of these is a copy. The measure is the
        cross-domain similarity local scaling of Conneau et al., arXiv:1710.04087.

        Args:
            offset: as for `ranks`.
        """
        near = self.ranks(offset).ravel() < _LOCAL
        images = np.concatenate([self.first, self.second + offset])
        scores = np.tile(self.score, 2)[near]
        number = np.maximum(np.bincount(images[near]), 1)
        local = np.bincount(images[near], scores) / number
        return 2 * self.score - local[self.first] - local[self.second + offset]


def find_nearest(
    thumbnails: Thumbnails,
    other: Thumbnails,
    on_progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Find the nearest of other images for each image.

    The time grows with the product of both numbers of images. Memory does not: it holds the
    features of all images, and the scores of a block of rows for each thread.

    Args:
        thumbnails: of the images.
        other: of the others; the same object to compare the images with each other.
        on_progress: called with the number of blocks of images that are done and the total.

    Returns:
        Each pair once; within one set the second index is the larger.
    """
    same = other is thumbnails
    small, usable = _coarse_details(thumbnails), np.flatnonzero(thumbnails.usable)
    small_other = small if same else _coarse_details(other)
    usable_other = np.flatnonzero(other.usable)
    whiten = _fit_whitening(small_other[usable_other])
    features = whiten(_windows(small[usable], (0, 0)))

    def turn(orientation: int) -> list[np.ndarray]:
        images = orient(small_other[usable_other], orientation)
        return [whiten(_windows(images, shift)).T for shift in _SHIFTS]

    turned = list(in_parallel(turn, range(ORIENTATIONS)))

    def search(start: int) -> tuple[np.ndarray, ...]:
        rows = features[start : start + _ROWS]
        best = np.full((len(rows), len(usable_other)), -2, np.float32)
        orientations = np.zeros(best.shape, np.int8)
        value, shifted_value = np.empty_like(best), np.empty_like(best)
        for orientation, shifted in enumerate(turned):
            np.matmul(rows, shifted[0], out=value)
            for columns in shifted[1:]:
                np.maximum(value, np.matmul(rows, columns, out=shifted_value), out=value)
            np.copyto(orientations, orientation, where=value > best)
            np.maximum(best, value, out=best)
        if same:
            best[np.arange(len(rows)), np.arange(start, start + len(rows))] = -2
        number = min(_NEIGHBORS, best.shape[1])
        chosen = np.argpartition(best, -number, axis=1)[:, -number:]
        row, column = np.repeat(np.arange(len(rows)), number), chosen.ravel()
        real = best[row, column] > -2
        row, column = row[real], column[real]
        return row + start, column, orientations[row, column], best[row, column]

    parts = list(in_parallel(search, range(0, len(usable), _ROWS), on_progress))
    first, second, orientation, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = Candidates(usable[first], usable_other[second], orientation, score)
    return _once(found) if same else found


def _once(found: Candidates) -> Candidates:
    """Keep each pair once, in the orientation with the better score."""
    swapped = found.first > found.second
    orientation = np.where(swapped, INVERSE[found.orientation], found.orientation)
    first, second = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((orientation, -found.score, second, first))
    ordered = Candidates(first, second, orientation, found.score).take(order)
    new = np.diff(ordered.first, prepend=-1).astype(bool)
    return ordered.take(new | np.diff(ordered.second, prepend=-1).astype(bool))


def _coarse_details(thumbnails: Thumbnails) -> np.ndarray:
    """Return the coarse details of the three channels, float32 `[images, 3, 16, 16]`."""
    pixels = thumbnails.pixels
    result = np.empty((len(pixels), 3, _SIDE_LENGTH, _SIDE_LENGTH), np.float32)
    for start in range(0, len(pixels), _ROWS):
        part = slice(start, start + _ROWS)
        result[part] = scale_down(band(brightness(pixels[part], 32), 2, 8, 8), _SIDE_LENGTH)
    return result


def _windows(images: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    margin = (_SIDE_LENGTH - _WINDOW) // 2
    top, left = margin + shift[0], margin + shift[1]
    window = images[..., top : top + _WINDOW, left : left + _WINDOW]
    return _unit(window.reshape(len(images), -1))


def _fit_whitening(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that makes what most images have in common count little.

    Without it, every dark spot in the middle of smooth skin is near to every other.
    """
    some = images[:: max(1, len(images) // _SAMPLE)]
    turned = [orient(some, orientation) for orientation in range(8)]
    sample = np.concatenate([_windows(part, shift) for part in turned for shift in _SHIFTS])
    mean = sample.mean(0)
    covariance = np.cov(sample.T)
    floor = _REGULARIZATION * covariance.trace() / len(covariance) + 1e-9
    values, vectors = np.linalg.eigh(covariance + floor * np.eye(len(covariance)))
    matrix = (vectors / np.sqrt(values))[:, -_COMPONENTS:].astype(np.float32)
    return lambda windows: _unit((windows - mean) @ matrix)


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6)).astype(np.float32)
