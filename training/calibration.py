"""Calibration and warnings of a saved model, fitted after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from config import TrainConfig
from data.balance import balance_sources
from data.classes import binary_tasks, melanoma_class
from data.pipeline import scale_batch
from metrics.operating_points import fit_thresholds, task_score
from models.bundle import get_description, load_model, save_model, update_description
from models.calibration import (
    apply_temperature,
    at_temperature_one,
    fit_confidence_threshold,
    fit_temperature,
)
from models.classifier import Classifier
from models.conformal import fit_set_thresholds
from models.description import Description
from models.novelty import fit_detector
from models.photographs import DEFAULT_THRESHOLD, score_photographs
from training import DivergedError


def calibrate(
    model_path: Path,
    train_images: dict[int, np.ndarray],
    validation_images: dict[int, np.ndarray],
    y_true: np.ndarray,
    data_sets: Sequence[str],
    lesion_ids: Sequence[str],
    settings: TrainConfig,
) -> float:
    """Fit temperature and warnings of a saved model, and save them in its file.

    The temperature and all thresholds are fitted to the validation images, the out-of-distribution
    detector itself to the training images. How many melanomas of the validation images it misses
    is saved as well.

    Args:
        model_path: the model; replaced.
        train_images: uint8 `[images, size, size, 3]` by image size, perhaps stored larger.
        validation_images: uint8 `[images, size, size, 3]` by image size.
        y_true: int `[images]`, classes of the validation images.
        data_sets: of the validation images; weighted by data set as in training.
        lesion_ids: of the validation images.
        settings: of the training.

    Returns:
        The temperature.

    Raises:
        DivergedError: a prediction or a feature is NaN or infinite.
    """
    model = load_model(model_path)
    description = get_description(model)
    classifier, images = Classifier(model), validation_images[description.image_size]
    y_prob, features = predict_batches(classifier, images, settings.batch_size)
    # A run may have been interrupted after its calibration.
    y_prob = at_temperature_one(y_prob, description.temperature)
    draws = balance_sources(data_sets, settings.source_balance)
    weights = draws.per_image() if draws else None
    temperature = fit_temperature(y_true, y_prob, weights)
    # In the precision of the model, whose confidences are compared with the threshold.
    calibrated = apply_temperature(y_prob, temperature).astype(np.float32)
    threshold = fit_confidence_threshold(
        y_true, calibrated, accuracy=settings.threshold_accuracy, weights=weights
    )
    _, train_features = predict_batches(
        classifier, train_images[description.image_size], settings.batch_size
    )
    detector = fit_detector(train_features, components=settings.detector_components)
    limit = np.quantile(detector.score(features), settings.in_distribution_fraction)
    update_description(
        model,
        temperature=temperature,
        confidence_threshold=threshold,
        threshold_accuracy=settings.threshold_accuracy,
        detector=replace(detector, threshold=float(limit)).to_config(),
        photograph_threshold=fit_photograph_threshold(images, data_sets, settings),
        melanomas=count_melanomas(y_true, calibrated, description.class_names),
        operating_points=fit_operating_points(y_true, calibrated, description, weights),
        prediction_sets=fit_prediction_sets(
            y_true,
            calibrated,
            lesion_ids,
            description.class_names,
            coverage=settings.set_coverage,
            weights=weights,
        ),
    )
    save_model(model, model_path)
    return temperature


def predict_batches(
    classifier: Classifier, images: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and features, in batches that are known to fit into memory.

    Args:
        classifier: of a `.keras` file.
        images: uint8 `[images, size, size, 3]`, perhaps stored larger.
        batch_size: that of the training.

    Raises:
        DivergedError: a value is NaN or infinite.
    """
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    size = classifier.description.image_size
    outputs = [classifier.predict_with_features(scale_batch(batch, size)) for batch in batches]
    y_prob, features = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
    if not (np.isfinite(y_prob).all() and np.isfinite(features).all()):
        raise DivergedError(
            "expected finite predictions of the best epoch, received NaN or infinity; train again "
            "with a lower --learning_rate"
        )
    return y_prob, features


def fit_photograph_threshold(
    images: np.ndarray, data_sets: Sequence[str], settings: TrainConfig
) -> float:
    """Return the score above which images are photographs without a dermatoscope.

    A model that is trained on such photographs must not warn about them. Few among many other
    images, they would all be above a quantile of all scores, so each data set has its own. One of
    dermatoscopic images, a few of which are above the default threshold, leaves it as it is.

    Args:
        images: uint8 `[images, size, size, 3]`, those of the validation.
        data_sets: of each image.
        settings: of the training.
    """
    scores, names = score_photographs(images), np.asarray(data_sets)
    threshold = DEFAULT_THRESHOLD
    for name in np.unique(names):
        own = scores[names == name]
        if (own > DEFAULT_THRESHOLD).mean() > settings.photograph_fraction:
            # Of a few images, none is above.
            limit = np.quantile(own, settings.in_distribution_fraction, method="higher")
            threshold = max(threshold, float(limit))
    return threshold


def fit_operating_points(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    description: Description,
    weights: np.ndarray | None = None,
) -> dict[str, dict[str, float]] | None:
    """Fit the thresholds of the binary tasks that a model has.

    Args:
        y_true: int `[images]`, classes of the validation images.
        y_prob: float `[images, classes]`, calibrated.
        description: of the model.
        weights: float `[images]`, how much each image counts; by default all the same.

    Returns:
        For `models.description.Description.operating_points`; None if no task has enough images.
    """
    found = {}
    for task, positive in binary_tasks(description.class_names, description.malignant).items():
        labels, score = task_score(y_true, y_prob, description.class_names, positive)
        found[task] = fit_thresholds(labels, score, weights)
    return {task: points for task, points in found.items() if points} or None


def fit_prediction_sets(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    lesion_ids: Sequence[str],
    class_names: Sequence[str],
    *,
    coverage: float,
    weights: np.ndarray | None = None,
) -> dict | None:
    """Fit the prediction sets of a model.

    Args:
        y_true: int `[images]`, indices into `class_names`, of the validation images.
        y_prob: float `[images, classes]`, calibrated.
        lesion_ids: the lesion of each image.
        class_names: names of the columns of `y_prob`.
        coverage: fraction of cases in which the set has to hold the true class.
        weights: float `[images]`, how much each image counts; by default all the same.

    Returns:
        For `models.description.Description.prediction_sets`; None if there are too few lesions.
    """
    thresholds = fit_set_thresholds(y_true, y_prob, lesion_ids, coverage=coverage, weights=weights)
    if thresholds is None:
        return None
    by_class = dict(zip(class_names, thresholds.tolist(), strict=True))
    return {"coverage": coverage, "thresholds": by_class}


def count_melanomas(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str]
) -> dict | None:
    """Count the melanomas among the validation images, and those that are missed.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.

    Returns:
        For `models.description.Description.melanomas`; None if there is no melanoma, or no class
        that is melanoma alone.
    """
    melanoma = melanoma_class(class_names)
    is_melanoma = np.array([class_names[i] == melanoma for i in y_true])
    if melanoma is None or not is_melanoma.any():
        return None
    predicted = y_prob[is_melanoma].argmax(axis=1)
    missed = sum(class_names[i] != melanoma for i in predicted)
    return {"split": "validation", "count": int(is_melanoma.sum()), "missed": int(missed)}
