"""Whether heat maps lie on the lesion."""

import numpy as np

FIGURES = ("hit_share", "energy_share", "chance")


def compare_with_masks(heat: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Compare heat maps with outlined lesions, image by image.

    Args:
        heat: float `[images, height, width]`, at least 0.
        masks: bool `[images, height, width]`, True inside the lesion.

    Returns:
        float64 `[images, 3]`: 1 where the map's peak lies inside the lesion, else 0 (a map of zeros
        has no peak); the part of the map's sum inside (0 for a map of zeros); the lesion's part of
        the area. All NaN where the mask holds no lesion.
    """
    masks = np.asarray(masks, bool).reshape(len(masks), -1)
    heat = np.asarray(heat, np.float64).reshape(masks.shape)
    total = heat.sum(axis=1)
    hit = masks[np.arange(len(masks)), heat.argmax(axis=1)] & (total > 0)
    inside = np.divide((heat * masks).sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
    rows = np.stack([hit, inside, masks.mean(axis=1)], axis=1)
    return np.where(masks.any(axis=1, keepdims=True), rows, np.nan)


def pointing_game(rows: np.ndarray) -> dict:
    """Sum comparisons up.

    The pointing game asks whether the peak of a map lies inside the object: Zhang et al., *Top-Down
    Neural Attention by Excitation Backprop*, IJCV 126 (2018), doi:10.1007/s11263-017-1059-x. Theirs
    allows 15 pixels beside it, this one none.

    Args:
        rows: from `compare_with_masks`, of all images.

    Returns:
        `images`, those with a lesion in the mask, and `without_lesion`, the others, which take no
        part; means over the former, None where there are none: `hit_share` (peak inside),
        `energy_share` (part of the map inside) and `chance` (the lesion's part of the area, which
        a peak at random would have).
    """
    used = ~np.isnan(rows[:, 0])
    means = rows[used].mean(axis=0).tolist() if used.any() else [None] * len(FIGURES)
    return {
        "images": int(used.sum()),
        "without_lesion": int((~used).sum()),
        **dict(zip(FIGURES, means, strict=True)),
    }
