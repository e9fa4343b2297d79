"""Calibration and warnings of a saved model, fitted after training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from config import TrainConfig
from data.pipeline import scale_batch
from models.bundle import describe, get_description, load_model, save_model
from models.calibration import (
    apply_temperature,
    at_temperature_one,
    fit_confidence_threshold,
    fit_temperature,
)
from models.classifier import Classifier
from models.novelty import fit_detector


def calibrate(
    model_path: Path,
    train_images: dict[int, np.ndarray],
    validation_images: dict[int, np.ndarray],
    y_true: np.ndarray,
    settings: TrainConfig,
) -> float:
    """Fit temperature and warnings of a saved model, and save them in its file.

    The temperature, the confidence threshold and the threshold of the out-of-distribution detector
    are fitted to the validation images, the detector itself to the training images.

    Args:
        model_path: the model; replaced.
        train_images: uint8 `[images, size, size, 3]` by image size, perhaps stored larger.
        validation_images: uint8 `[images, size, size, 3]` by image size.
        y_true: int `[images]`, classes of the validation images.
        settings: of the training.

    Returns:
        The temperature.
    """
    model = load_model(model_path)
    description = get_description(model)
    classifier, image_size = Classifier(model), description.image_size

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features, in batches that are known to fit into memory."""
        starts = range(0, len(images), settings.batch_size)
        batches = (images[start : start + settings.batch_size] for start in starts)
        outputs = [classifier.read(scale_batch(batch, image_size)) for batch in batches]
        return np.concatenate([p for p, _ in outputs]), np.concatenate([f for _, f in outputs])

    y_prob, features = read(validation_images[image_size])
    # A run may have been interrupted after its calibration.
    y_prob = at_temperature_one(y_prob, description.temperature)
    temperature = fit_temperature(y_true, y_prob)
    # In the precision of the model, whose confidences are compared with the threshold.
    calibrated = apply_temperature(y_prob, temperature).astype(np.float32)
    threshold = fit_confidence_threshold(y_true, calibrated, accuracy=settings.threshold_accuracy)
    _, train_features = read(train_images[image_size])
    detector = fit_detector(train_features, components=settings.detector_components)
    limit = np.quantile(detector.score(features), settings.in_distribution_fraction)
    describe(
        model,
        temperature=temperature,
        confidence_threshold=threshold,
        threshold_accuracy=settings.threshold_accuracy,
        detector=replace(detector, threshold=float(limit)).to_config(),
    )
    save_model(model, model_path)
    return temperature
