"""Localization metrics: whether Grad-CAM heat maps lie on the lesion."""

from __future__ import annotations

import numpy as np

from metrics.markup import format_table
from metrics.numbers import format_count, format_number


def compare_with_masks(heat_maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Compare heat maps with lesion segmentation masks, image by image.

    Args:
        heat_maps: float `[images, height, width]`, at least 0.
        masks: bool `[images, height, width]`, True inside the lesion.

    Returns:
        float64 `[images, 3]`: 1 if the maximum of the map lies inside the lesion, else 0 (also for
        a map of zeros); the fraction of the map's sum inside the lesion (0 for a map of zeros); the
        fraction of the image that the lesion covers. All three are NaN where the mask is empty.
    """
    masks = np.asarray(masks, bool).reshape(len(masks), -1)
    heat_maps = np.asarray(heat_maps, np.float64).reshape(masks.shape)
    total = heat_maps.sum(axis=1)
    hit = masks[np.arange(len(masks)), heat_maps.argmax(axis=1)] & (total > 0)
    inside = (heat_maps * masks).sum(axis=1)
    energy = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    rows = np.stack([hit, energy, masks.mean(axis=1)], axis=1)
    return np.where(masks.any(axis=1, keepdims=True), rows, np.nan)


def pointing_game(rows: np.ndarray) -> dict:
    """Average the comparisons over the images.

    The pointing game asks whether the maximum of a heat map lies inside the object: Zhang et al.,
    *Top-Down Neural Attention by Excitation Backprop*, IJCV 126 (2018),
    doi:10.1007/s11263-017-1059-x. Theirs tolerates a distance of 15 pixels, this one none.

    Args:
        rows: from `compare_with_masks`, for all images.

    Returns:
        `images`, the number of images with a lesion in the mask, and `without_lesion`, the number
        of the others, which are excluded. Means over the former, None if there are none:
        `hit_fraction` (maximum inside the lesion), `energy_fraction` (part of the map's sum inside
        the lesion) and `chance` (part of the image that the lesion covers, the expected hit
        fraction of a random point).
    """
    used = ~np.isnan(rows[:, 0])
    means = rows[used].mean(axis=0).tolist() if used.any() else [None] * 3
    names = ("hit_fraction", "energy_fraction", "chance")
    return {
        "images": int(used.sum()),
        "without_lesion": int((~used).sum()),
        **dict(zip(names, means, strict=True)),
    }


def format_localization_section(game: dict | None) -> str:
    """Return the section of the report as HTML.

    Args:
        game: from `pointing_game`; None if not measured.
    """
    if game is None:
        return (
            "<p>Not measured: there are no lesion masks next to the images, or the model file "
            "gives no heat maps.</p>"
        )
    rows = [
        [
            "Hit rate: maximum of the heat map inside the lesion",
            format_number(game["hit_fraction"]),
        ],
        [
            "Energy: fraction of the heat map inside the lesion",
            format_number(game["energy_fraction"]),
        ],
        ["Chance level: fraction of the image inside the lesion", format_number(game["chance"])],
    ]
    excluded = ""
    if count := game["without_lesion"]:
        excluded = f" ({format_count(count)} excluded: no part of the lesion is in the crop)"
    return (
        "<p>Grad-CAM (Selvaraju et al. 2017) maps the evidence for the predicted class. The "
        "pointing game (Zhang et al. 2018) tests whether the maximum of the map lies inside the "
        f"lesion mask. Images: {format_count(game['images'])}{excluded}.</p>"
        + format_table(["Metric", "Mean"], rows)
    )
