"""All metrics of an evaluation, as `metrics.json` holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metrics.calibration import calibration_metrics, class_prevalence
from metrics.classification import classification_metrics, subgroup_metrics
from metrics.sources import source_metrics


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a model for labeled images.

    Attributes:
        class_names: names of the classes.
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`, at the model's temperature.
        uncalibrated: float `[images, classes]`, at temperature 1.
        temperature: of the model.
        lesion_ids: the lesion of each image.
        subgroups: by column, the subgroup of each image.
        localization: from `metrics.localization.pointing_game`; None if not measured.
        sources: the source of each image; empty if sources are not measured.
        trained_on: by source, whether the model was trained on it; None if unknown.
    """

    class_names: Sequence[str]
    y_true: np.ndarray
    y_prob: np.ndarray
    uncalibrated: np.ndarray
    temperature: float
    lesion_ids: Sequence[str]
    subgroups: Mapping[str, Sequence[str]]
    localization: dict | None = None
    sources: Sequence[str] = ()
    trained_on: Mapping[str, bool | None] = field(default_factory=dict)


def evaluation_metrics(
    evaluation: Evaluation,
    *,
    malignant: Sequence[str] = (),
    melanoma: str | None = None,
) -> dict:
    """Compute all metrics of an evaluation.

    Args:
        evaluation: the predictions.
        malignant: the malignant classes; empty if unknown.
        melanoma: the class of melanomas; None without one.

    Returns:
        The content of `metrics.json`: that of `classification_metrics`, with the binary tasks
        `malignant` and `melanoma` where these classes are known; and `calibration`, `subgroups`,
        `sources` (empty if they are not measured) and `pointing_game`.
    """
    binary_tasks = {"malignant": malignant} if malignant else {}
    if melanoma is not None:
        binary_tasks["melanoma"] = (melanoma,)
    y_true, y_prob, class_names = evaluation.y_true, evaluation.y_prob, evaluation.class_names
    metrics = classification_metrics(
        y_true, y_prob, class_names, binary_tasks=binary_tasks, groups=evaluation.lesion_ids
    )
    metrics["calibration"] = {
        "temperature": evaluation.temperature,
        "before": calibration_metrics(y_true, evaluation.uncalibrated),
        "after": calibration_metrics(y_true, y_prob),
        "prevalence": class_prevalence(y_true, y_prob, class_names),
    }
    metrics["subgroups"] = subgroup_metrics(
        y_true,
        y_prob,
        class_names,
        malignant=malignant,
        columns=evaluation.subgroups,
        groups=evaluation.lesion_ids,
    )
    metrics["sources"] = source_metrics(
        y_true,
        y_prob,
        class_names,
        melanoma=melanoma,
        sources=evaluation.sources,
        trained_on=evaluation.trained_on,
        groups=evaluation.lesion_ids,
    )
    metrics["pointing_game"] = evaluation.localization
    return metrics
