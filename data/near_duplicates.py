"""Images that show the same lesion although their files differ: copies, and second exposures.

The search narrows down in three steps. Whitened thumbnails of 16 pixels, in ten orientations, give
the nearest images of each. Details of 32 pixels, matched in blocks that may move, choose the pairs
that stand out. These are registered by an affine transform, since skin is stretched from one
exposure to the next: blocks of the same lesion agree on it, blocks of lookalikes do not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from data.elastic_matching import match_elastically
from data.nearest_images import Candidates, find_nearest
from data.parallel import in_parallel
from data.registration import Matches, match_blocks
from data.thumbnails import INVERSE, SIDE_LENGTH, Thumbnails, details, orient_each, rotation

# What the progress bar counts for each image: nearest images, matched, registered, verified.
_STEPS = 4
# Pairs that are registered at half size: those that stand out, as many as there are images and at
# least this number, and the best ones of each image.
_AT_LEAST = 500
_BEST = 3
# Similarity at half size from which they are registered at full size.
_PROMISING = 0.2
# Pairs at once: with fewer, the threads wait for each other.
_PAIRS = 48
# Details of half size, and of full size, the coarser first: see `data.thumbnails.band`.
_HALF = (0.4, 2, 3)
_FULL = ((0.7, 3, 5), (0.7, 3, 5), (0, 2, 4))
# How far blocks look at each step, and the error at which they count a quarter, pixels.
_HALF_STEPS = ((4, 1.5), (2, 1.0))
_FULL_STEPS = ((3, 2.0), (2, 1.5), (2, 1.0))
# A block agrees with the transform up to this error.
_AGREEMENT = 1.2
_MIN_BLOCKS = 12
# Judged by eye on HAM10000 and ISIC 2017: different lesions reach 0.43; of the 18 pairs of the same
# lesion that were known before, the least similar has 0.62.
MIN_SIMILARITY = 0.5


@dataclass(frozen=True)
class Pair:
    """Two images that show the same lesion.

    Attributes:
        first: index of an image.
        second: index of another, larger; of the images to compare with, if there are such.
        similarity: how well the blocks agree, 0..1.
    """

    first: int
    second: int
    similarity: float


def find_near_duplicates(
    thumbnails: Thumbnails,
    against: Thumbnails | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Pair]:
    """Find the images that show the same lesion, also scaled, recompressed, mirrored or turned.

    Args:
        thumbnails: of the images.
        against: of other images to compare them with; by default with each other.
        on_progress: called with the number of steps that are done and the total, four for each of
            the images. The first one takes longer the more images there are, the others do not.

    Returns:
        The pairs, the most similar first. Images that are flat or cannot be read are in none.
    """
    other = thumbnails if against is None else against
    if thumbnails.usable.sum() == 0 or other.usable.sum() == 0:
        return []
    # `in_parallel` keeps all cores busy; more threads in each matrix product would make it slower.
    with threadpool_limits(1, "blas"):
        return _find(thumbnails, other, on_progress or (lambda done, total: None))


def _find(
    thumbnails: Thumbnails, other: Thumbnails, report: Callable[[int, int], None]
) -> list[Pair]:
    images = len(thumbnails.usable)

    def step(number: int) -> Callable[[int, int], None]:
        return lambda done, total: report(round((number + done / total) * images), _STEPS * images)

    step(0)(0, 1)
    found = find_nearest(thumbnails, other, step(0))
    found, transforms = _choose(found, thumbnails, other, step(1), step(2))
    similarity = _verify(found, transforms, thumbnails, other, step(3))
    step(3)(1, 1)
    pairs = [
        Pair(int(first), int(second), round(float(value), 4))
        for first, second, value in zip(found.first, found.second, similarity, strict=True)
        if value >= MIN_SIMILARITY
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _choose(
    found: Candidates,
    thumbnails: Thumbnails,
    other: Thumbnails,
    matched: Callable[[int, int], None],
    registered: Callable[[int, int], None],
) -> tuple[Candidates, np.ndarray]:
    """Choose the candidates for full size, with transforms of half size."""
    if len(found.first) == 0:
        return found, np.zeros((0, 2, 3), np.float32)
    half = details(thumbnails.pixels, SIDE_LENGTH // 2, *_HALF)
    half_other = half if other is thumbnails else details(other.pixels, SIDE_LENGTH // 2, *_HALF)
    found, shifts = _match_in_two_orientations(found, half, half_other, matched)
    images = len(thumbnails.usable)
    offset = 0 if other is thumbnails else images
    number = max(_AT_LEAST, images)
    standing_out = np.argsort(-found.excess(offset), kind="stable")[:number]
    ranks = found.ranks(offset)
    # Of other images only some are near to one of these at all.
    best = np.flatnonzero(ranks[0] < _BEST if offset else ranks.min(0) < _BEST)
    best = np.union1d(standing_out, best)
    found, shifts = found.take(best), shifts[best]

    def register(start: int) -> tuple[np.ndarray, np.ndarray]:
        some = slice(start, start + _PAIRS)
        part = found.take(some)
        first, second = _turned(half[part.first], part), half_other[part.second]
        transforms = np.stack([rotation(orientation) for orientation in part.orientation])
        transforms = np.concatenate([transforms, shifts[some, :, None]], 2).astype(np.float32)
        for limit, tolerance in _HALF_STEPS:
            transforms, matches = match_blocks(
                first, second, transforms, limit=limit, tolerance=tolerance
            )
        return transforms, _similarity(matches, _AGREEMENT / 2)

    parts = list(in_parallel(register, range(0, len(found.first), _PAIRS), registered))
    transforms, similarity = (np.concatenate(part) for part in zip(*parts, strict=True))
    best = similarity >= _PROMISING
    return found.take(best), transforms[best]


def _match_in_two_orientations(
    found: Candidates,
    half: np.ndarray,
    half_other: np.ndarray,
    report: Callable[[int, int], None],
) -> tuple[Candidates, np.ndarray]:
    """Score candidates by elastic matching, as they were found and upright.

    A second exposure is upright as a rule, but a shift can make another orientation seem nearer.
    """
    turned = np.flatnonzero(found.orientation)
    upright = found.take(turned)
    upright = replace(upright, orientation=np.zeros_like(upright.orientation))
    both = found.join(upright)
    similarity, shifts = match_elastically(both, half, half_other, report)
    number = len(found.first)
    better = np.flatnonzero(similarity[number:] > similarity[turned])
    chosen = np.arange(number)
    chosen[turned[better]] = number + better
    return replace(both, score=similarity).take(chosen), shifts[chosen]


def _verify(
    found: Candidates,
    transforms: np.ndarray,
    thumbnails: Thumbnails,
    other: Thumbnails,
    report: Callable[[int, int], None],
) -> np.ndarray:
    """Register candidates at full size and return how similar they are."""

    def verify(start: int) -> np.ndarray:
        some = slice(start, start + _PAIRS)
        part, current = found.take(some), transforms[some].copy()
        current[:, :, 2] *= 2
        for sizes, (limit, tolerance) in zip(_FULL, _FULL_STEPS, strict=True):
            first = _turned(details(thumbnails.pixels[part.first], SIDE_LENGTH, *sizes), part)
            second = details(other.pixels[part.second], SIDE_LENGTH, *sizes)
            current, matches = match_blocks(
                first, second, current, limit=limit, tolerance=tolerance
            )
        return _similarity(matches, _AGREEMENT)

    if len(found.first) == 0:
        return np.zeros(0)
    starts = range(0, len(found.first), _PAIRS)
    return np.concatenate(list(in_parallel(verify, starts, report)))


def _turned(images: np.ndarray, part: Candidates) -> np.ndarray:
    """Turn the first images like the second; the turns by an angle are left to the transform."""
    orientation = INVERSE[part.orientation]
    return orient_each(images, np.where(orientation < 8, orientation, 0))


def _similarity(matches: Matches, agreement: float) -> np.ndarray:
    """Return the part of the blocks that agree with the transform, and how well they correlate."""
    number = matches.known.sum(1)
    agree = matches.known & (matches.error < agreement)
    correlation = (np.maximum(matches.correlation, 0) * agree).sum(1) / np.maximum(number, 1)
    similarity = (agree.sum(1) / np.maximum(number, 1) + correlation) / 2
    return np.where(number >= _MIN_BLOCKS, similarity, 0)
