"""All metrics of an evaluation, as `metrics.json` holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from metrics.artifacts import artifact_metrics
from metrics.calibration import calibration_metrics, class_prevalence
from metrics.classification import classification_metrics, subgroup_metrics
from metrics.comparison import OtherPredictions, comparison_metrics
from metrics.confirmation import histology_metrics
from metrics.decision_curve import decision_curve
from metrics.folds import fold_metrics
from metrics.intervals import LESIONS
from metrics.occlusion import Occlusion, occlusion_metrics
from metrics.operating_points import operating_point_metrics, task_score
from metrics.prediction_sets import prediction_set_metrics
from metrics.selective import selective_metrics
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
        lesion_ids: the lesion of each image, or another group that is resampled as a whole.
        subgroups: by column, the subgroup of each image.
        localization: from `metrics.localization.pointing_game`; None if not measured.
        sources: the source of each image; empty if sources are not measured.
        trained_on: by source, whether the model was trained on it; None if unknown.
        folds: the fold of each image in a cross-validation; empty without one.
        thresholds: fixed on validation images, by binary task and operating point; empty if the
            model has none.
        sets: bool `[images, classes]`, the prediction set of each image; None without them.
        set_coverage: fraction of cases in which the sets are meant to hold the true class.
        histology: whether histopathology confirmed the diagnosis of each image; empty if unknown.
        image_ids: the name of each image; only needed to compare models.
        grouping: what `lesion_ids` are.
        artifacts: by name, whether each image shows it, None where unknown; empty if not measured.
        occlusion: predictions for images of which a part is hidden; None if not measured.
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
    folds: Sequence[int] = ()
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sets: np.ndarray | None = None
    set_coverage: float | None = None
    histology: Sequence[bool] = ()
    image_ids: Sequence[str] = ()
    grouping: str = LESIONS
    artifacts: Mapping[str, Sequence[bool | None]] = field(default_factory=dict)
    occlusion: Occlusion | None = None


def evaluation_metrics(
    evaluation: Evaluation,
    *,
    malignant: Sequence[str] = (),
    melanoma: str | None = None,
    prevalence: Mapping[str, float] = MappingProxyType({}),
    other: OtherPredictions | None = None,
) -> dict:
    """Compute all metrics of an evaluation.

    Args:
        evaluation: the predictions.
        malignant: the malignant classes; empty if unknown.
        melanoma: the class of melanomas; None without one.
        prevalence: by binary task, the fraction of positives at which predictive values are given
            as well.
        other: predictions of another model to compare with; None without one.

    Returns:
        The content of `metrics.json`: that of `classification_metrics`, with the binary tasks
        `malignant` and `melanoma` where these classes are known; and `grouping`,
        `operating_points` (by task), `calibration`, `prediction_sets`, `selective_prediction`,
        `decision_curve`, `subgroups`, `histology`, `sources`, `artifacts`, `occlusion`,
        `comparison` and `folds` (empty if they are not measured) and `pointing_game`.
    """
    binary_tasks = {"malignant": malignant} if malignant else {}
    if melanoma is not None:
        binary_tasks["melanoma"] = (melanoma,)
    y_true, y_prob, class_names = evaluation.y_true, evaluation.y_prob, evaluation.class_names
    metrics = classification_metrics(
        y_true, y_prob, class_names, binary_tasks=binary_tasks, groups=evaluation.lesion_ids
    )
    metrics["grouping"] = evaluation.grouping
    metrics |= _task_metrics(evaluation, binary_tasks, prevalence)
    metrics["calibration"] = {
        "temperature": evaluation.temperature,
        "before": calibration_metrics(y_true, evaluation.uncalibrated),
        "after": calibration_metrics(y_true, y_prob),
        "prevalence": class_prevalence(y_true, y_prob, class_names),
    }
    metrics["prediction_sets"] = _prediction_set_metrics(evaluation)
    metrics["selective_prediction"] = selective_metrics(
        y_true, y_prob, class_names, melanoma=melanoma, groups=evaluation.lesion_ids
    )
    metrics |= _part_metrics(evaluation, malignant, melanoma)
    metrics["comparison"] = comparison_metrics(
        y_true,
        y_prob,
        class_names,
        image_ids=evaluation.image_ids,
        other=other,
        melanoma=melanoma,
        groups=evaluation.lesion_ids,
    )
    metrics["folds"] = fold_metrics(y_true, y_prob, class_names, evaluation.folds)
    metrics["pointing_game"] = evaluation.localization
    return metrics


def _part_metrics(
    evaluation: Evaluation, malignant: Sequence[str], melanoma: str | None
) -> dict[str, dict]:
    """Return what is measured for some of the images, or for parts of them."""
    arrays = evaluation.y_true, evaluation.y_prob, evaluation.class_names
    groups = evaluation.lesion_ids
    return {
        "subgroups": subgroup_metrics(
            *arrays, malignant=malignant, columns=evaluation.subgroups, groups=groups
        ),
        "sources": source_metrics(
            *arrays,
            melanoma=melanoma,
            sources=evaluation.sources,
            trained_on=evaluation.trained_on,
            groups=groups,
        ),
        "artifacts": artifact_metrics(
            *arrays, melanoma=melanoma, artifacts=evaluation.artifacts, groups=groups
        ),
        "occlusion": occlusion_metrics(*arrays, occlusion=evaluation.occlusion, groups=groups),
    }


def _prediction_set_metrics(evaluation: Evaluation) -> dict:
    if evaluation.sets is None:
        return {}
    return prediction_set_metrics(
        evaluation.y_true,
        evaluation.sets,
        evaluation.class_names,
        stated_coverage=evaluation.set_coverage,
        groups=evaluation.lesion_ids,
        sources=evaluation.sources,
    )


def _task_metrics(
    evaluation: Evaluation,
    binary_tasks: Mapping[str, Sequence[str]],
    prevalence: Mapping[str, float],
) -> dict:
    """Return what needs the binary tasks."""
    y_true, y_prob, groups = evaluation.y_true, evaluation.y_prob, evaluation.lesion_ids
    scores = {
        task: task_score(y_true, y_prob, evaluation.class_names, positive)
        for task, positive in binary_tasks.items()
    }
    points = {
        task: operating_point_metrics(
            *score, evaluation.thresholds[task], groups=groups, prevalence=prevalence.get(task)
        )
        for task, score in scores.items()
        if task in evaluation.thresholds
    }
    malignant = scores.get("malignant")
    histology = histology_metrics(
        y_true,
        y_prob,
        evaluation.class_names,
        histology=evaluation.histology,
        binary_tasks=binary_tasks,
        groups=groups,
    )
    return {
        "operating_points": points,
        "histology": histology,
        "decision_curve": decision_curve(*malignant, groups=groups) if malignant else [],
    }
