"""Confidence intervals by the bootstrap, resampling lesions.

Photographs of one lesion are alike, so resampling images would promise more certainty than there
is. Efron & Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 13 (percentiles).
"""

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 1000

# Weights in memory at a time.
_CELLS = 4_000_000


def resample_weights(groups: Sequence, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw groups with replacement, as many as there are.

    Args:
        groups: the group (lesion) of each image.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        int16 `[resamples, images]`: how often the group of each image was drawn.
    """
    names, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(names), (resamples, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return counts.astype(np.int16)[:, place]


def confidence_intervals(
    figures: Callable[[np.ndarray], dict[str, np.ndarray]],
    groups: Sequence,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """Return the percentile interval of each figure.

    Args:
        figures: takes weights, `[weightings, images]`, returns a dict of `[weightings]` arrays,
            NaN where a figure is not defined.
        groups: the group (lesion) of each image; whole groups are resampled.
        level: share of the resamples inside the interval.
        resamples: their number.
        seed: of the resampling.

    Returns:
        (low, high) by figure, from the resamples where it is defined; None where it is in fewer
        than half of them.
    """
    weights = resample_weights(groups, resamples=resamples, seed=seed)
    rows = max(1, _CELLS // weights.shape[1])
    parts = [figures(weights[start : start + rows]) for start in range(0, resamples, rows)]
    tail = 50 * (1 - level)
    intervals = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        if len(values) < resamples / 2:
            intervals[name] = None
        else:
            low, high = np.percentile(values, [tail, 100 - tail])
            intervals[name] = (float(low), float(high))
    return intervals
