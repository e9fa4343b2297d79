"""Confidence intervals: of the bootstrap, which resamples whole lesions, and of Wilson.

Images of one lesion are correlated, so resampling single images would give intervals that are too
narrow. Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13 (percentiles).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist

import numpy as np

RESAMPLES = 1000
# Of all intervals.
LEVEL = 0.95
# From fewer lesions, the percentiles of the bootstrap may be too narrow.
FEW_LESIONS = 10
# What is resampled, where it is not said otherwise.
LESIONS = "lesions"
UNKNOWN_LESIONS = (
    "Images of one lesion that look different count as independent, so the intervals may be a "
    "little too narrow."
)

# Elements of the weight matrix that are processed at a time, to bound the memory.
_CHUNK_ELEMENTS = 4_000_000


def resample_weights(groups: Sequence, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw groups with replacement, as many as there are.

    Args:
        groups: the group (lesion) of each image.
        resamples: number of resamples.
        seed: seed of the random draws.

    Returns:
        int16 `[resamples, images]`: how often the group of each image was drawn.
    """
    names, group_indices = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, len(names)), np.int16)
    for row in counts:  # all at once would take twelve times the memory
        row[:] = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
    return counts[:, group_indices]


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    undefined = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)


def optional(value: float) -> float | None:
    """Return a metric as JSON holds it: None if it is NaN."""
    return None if np.isnan(value) else float(value)


def confidence_intervals(
    compute_metrics: Callable[[np.ndarray], dict[str, np.ndarray]],
    groups: Sequence,
    *,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, float] | None]:
    """Return the percentile interval of each metric.

    Args:
        compute_metrics: maps image weights, `[resamples, images]`, to a dict of `[resamples]`
            arrays, NaN where a metric is undefined.
        groups: the group (lesion) of each image; whole groups are resampled.
        resamples: number of resamples.

    Returns:
        (low, high) by metric, over the resamples in which it is defined; None if it is defined in
        fewer than half of them.
    """
    weights = resample_weights(groups, resamples=resamples)
    rows = max(1, _CHUNK_ELEMENTS // weights.shape[1])
    chunks = [compute_metrics(weights[start : start + rows]) for start in range(0, resamples, rows)]
    tail = 50 * (1 - LEVEL)
    intervals = {}
    for name in chunks[0]:
        values = np.concatenate([chunk[name] for chunk in chunks])
        values = values[~np.isnan(values)]
        if len(values) < resamples / 2:
            intervals[name] = None
        else:
            low, high = np.percentile(values, [tail, 100 - tail])
            intervals[name] = (float(low), float(high))
    return intervals


def wilson_interval(successes: float, total: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the confidence interval of a fraction, which has a width even at 0 and 1.

    Wilson, *Probable inference, the law of succession, and statistical inference*, Journal of the
    American Statistical Association 22 (1927), 209-212.

    Args:
        successes: number of successes.
        total: number of trials, at least 1.
        level: confidence level.
    """
    z, p = NormalDist().inv_cdf((1 + level) / 2), successes / total
    center = p + z**2 / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max((center - half) / scale, 0.0), min((center + half) / scale, 1.0)


def fraction_interval(
    value: float, lesions: Sequence, bootstrap: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return the interval of a fraction by the bootstrap, at least as wide as Wilson's if need be.

    Where the fraction is 0 or 1, no resample of the bootstrap differs, and from a few lesions its
    percentiles may be too narrow. There, it reaches on both sides at least as far as Wilson's
    interval with lesions counted instead of images.

    Args:
        value: the fraction; NaN if it is undefined.
        lesions: that of each image that counts; empty if the value is a mean of fractions, for
            which there is no interval of Wilson's.
        bootstrap: interval by resampling lesions.

    Returns:
        None if there is no interval.
    """
    count = len(np.unique(np.asarray(lesions, str)))
    is_limit = value in (0.0, 1.0)
    if count == 0:
        return None if is_limit else bootstrap
    if math.isnan(value) or (count >= FEW_LESIONS and not is_limit):
        return bootstrap
    low, high = wilson_interval(value * count, count)
    return (low, high) if bootstrap is None else (min(low, bootstrap[0]), max(high, bootstrap[1]))


def widen_intervals(
    values: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float] | None],
    lesions: Mapping[str, Sequence],
) -> dict[str, tuple[float, float] | None]:
    """Apply `fraction_interval` to the intervals of several metrics.

    Args:
        values: of the metrics, NaN, None or missing where undefined.
        intervals: from `confidence_intervals`, of the same metrics.
        lesions: of the metrics that are fractions of images, those of the images that count.
    """
    widened = {}
    for key, interval in intervals.items():
        value = values.get(key)
        value = math.nan if value is None else value
        widened[key] = fraction_interval(value, lesions.get(key, ()), interval)
    return widened
