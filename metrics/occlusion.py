"""What a model still predicts where only the lesion is visible, or only what surrounds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.classification import classification_metrics
from metrics.markup import format_table, with_interval
from metrics.numbers import format_count, format_number

_VIEWS = {
    "whole": "Whole image",
    "lesion": "Only the lesion",
    "surroundings": "Only its surroundings",
}
_KEYS = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Occlusion:
    """Predictions for images of which a part is hidden.

    Attributes:
        rows: int `[occluded]`, which of the images of the evaluation they are.
        lesion: float `[occluded, classes]`, where only the lesion is visible.
        surroundings: float `[occluded, classes]`, where only the rest is.
        available: number of images with a lesion mask, of which these were drawn.
    """

    rows: np.ndarray
    lesion: np.ndarray
    surroundings: np.ndarray
    available: int


def occlusion_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    occlusion: Occlusion | None,
    groups: Sequence,
) -> dict:
    """Measure predictions for whole images, their lesions alone and their surroundings alone.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`, for the whole images.
        class_names: names of the columns of `y_prob`.
        occlusion: predictions for the others; None if not measured.
        groups: the lesion of each image.

    Returns:
        `images`; `available`; `classes`, how many occur; and for `whole`, `lesion` and
        `surroundings`, all on the same images, `accuracy`, `balanced_accuracy` and their
        `intervals`, 95 %. Empty if not measured.
    """
    if occlusion is None or not len(occlusion.rows):
        return {}
    rows = occlusion.rows
    true, groups = np.asarray(y_true)[rows], np.asarray(groups)[rows]
    views = (y_prob[rows], occlusion.lesion, occlusion.surroundings)
    found = {"images": len(rows), "available": occlusion.available}
    found["classes"] = len(np.unique(true))
    for name, view in zip(_VIEWS, views, strict=True):
        metrics = classification_metrics(true, view, class_names, groups=groups)
        found[name] = {key: metrics[key] for key in _KEYS}
        found[name]["intervals"] = {key: metrics["intervals"][key] for key in _KEYS}
    return found


def format_occlusion_line(occlusion: Mapping) -> str:
    """Return the line that `evaluate.py` prints.

    Args:
        occlusion: from `occlusion_metrics`, not empty.
    """
    whole, lesion, rest = (format_number(occlusion[view][_KEYS[1]]) for view in _VIEWS)
    return (
        f"balanced accuracy, {format_count(occlusion['images'])} images with masks: {whole}; "
        f"only the lesion visible {lesion}, only the rest {rest}"
    )


def format_occlusion_section(occlusion: Mapping) -> str:
    """Return the section of the report as HTML.

    Args:
        occlusion: from `occlusion_metrics`, not empty.
    """
    rows = []
    for view, label in _VIEWS.items():
        found = occlusion[view]
        rows.append([label, *(with_interval(found[key], found["intervals"][key]) for key in _KEYS)])
    drawn = f"{format_count(occlusion['images'])} images with a lesion mask"
    if occlusion["images"] < occlusion["available"]:
        drawn = (
            f"{format_count(occlusion['images'])} of the {format_count(occlusion['available'])} "
            "images with a lesion mask, drawn at random but the same in each evaluation"
        )
    return (
        f"<p>Images: {drawn}. What is hidden is filled with the mean color of the image. A model "
        "that uses the lesion loses little where only the lesion is visible, and falls to chance, "
        f"a balanced accuracy of {format_number(1 / occlusion['classes'])}, where only its "
        "surroundings are. What it predicts from these, it takes from skin, hair or rulers, or "
        "from the shape and size of the hole, which the mask leaves visible.</p>"
        + format_table(["Visible", "Accuracy", "Balanced accuracy"], rows)
    )
