"""Bootstrap confidence intervals that resample whole lesions.

Images of one lesion are correlated, so resampling single images would give intervals that are too
narrow. Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 1000
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


def confidence_intervals(
    compute_metrics: Callable[[np.ndarray], dict[str, np.ndarray]],
    groups: Sequence,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """Return the percentile interval of each metric.

    Args:
        compute_metrics: maps image weights, `[resamples, images]`, to a dict of `[resamples]`
            arrays, NaN where a metric is undefined.
        groups: the group (lesion) of each image; whole groups are resampled.
        level: confidence level.
        resamples: number of resamples.
        seed: seed of the resampling.

    Returns:
        (low, high) by metric, over the resamples in which it is defined; None if it is defined in
        fewer than half of them.
    """
    weights = resample_weights(groups, resamples=resamples, seed=seed)
    rows = max(1, _CHUNK_ELEMENTS // weights.shape[1])
    chunks = [compute_metrics(weights[start : start + rows]) for start in range(0, resamples, rows)]
    tail = 50 * (1 - level)
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
