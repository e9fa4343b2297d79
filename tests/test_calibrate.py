"""What a training fits to its validation images, and saves in the model file."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from data.balance import balance_sources
from data.ham10000 import CLASS_NAMES, MALIGNANT
from models.bundle import get_description, load_model, save_model, update_description
from models.calibration import apply_temperature, fit_confidence_threshold, fit_temperature
from models.classifier import Classifier
from models.factory import build_model
from train import parse
from training.calibration import calibrate, fit_operating_points, fit_prediction_sets

pytestmark = pytest.mark.usefixtures("shallow_baseline")

COUNT = 150
DATA_SETS = ["large"] * 110 + ["small"] * 40
LESIONS = [f"lesion{i // 2}" for i in range(COUNT)]
SETTINGS = dataclasses.replace(
    parse(["--model", "sequential", "--batch_size", "64"]), threshold_accuracy=0.6
)


@pytest.fixture
def images() -> np.ndarray:
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (COUNT, 1, 1, 3))
    noise = rng.normal(0, 30, (COUNT, 32, 32, 3))
    return np.clip(colors + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def path(tmp_path, images, monkeypatch) -> Path:
    """A model that predicts all classes, with more and with less confidence."""
    monkeypatch.setattr(
        "training.calibration.score_photographs", lambda images: np.full(len(images), -5.0)
    )
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    layer = model.get_layer("logits")
    kernel = layer.get_weights()[0]
    logits = Classifier(model).features(images) @ kernel
    scale = 1.5 / logits.std(axis=0)
    layer.set_weights([kernel * scale, -logits.mean(axis=0) * scale])
    update_description(model, malignant=MALIGNANT)
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def draw_labels(path: Path, images: np.ndarray) -> np.ndarray:
    """Draw classes with the probabilities of a model, in the smaller data set with lower ones."""
    y_prob = load_classifier(path)(images).y_prob
    temperature = np.where(np.array(DATA_SETS) == "large", 0.4, 1.0)[:, None]
    powers = y_prob.astype(np.float64) ** (1 / temperature)
    cumulative = (powers / powers.sum(axis=1, keepdims=True)).cumsum(axis=1)
    return (cumulative < np.random.default_rng(1).random((COUNT, 1))).sum(axis=1)


def load_classifier(path: Path) -> Classifier:
    return Classifier(load_model(path))


def test_all_is_fitted_to_the_calibrated_validation_images_as_they_are_drawn(path, images):
    before = load_classifier(path)(images).y_prob
    y_true = draw_labels(path, images)
    found = calibrate(path, {32: images}, {32: images}, y_true, DATA_SETS, LESIONS, SETTINGS)
    weights = balance_sources(DATA_SETS, SETTINGS.source_balance).per_image()
    assert found == pytest.approx(fit_temperature(y_true, before, weights), rel=1e-3)
    assert found != pytest.approx(fit_temperature(y_true, before), rel=1e-3)

    classifier = load_classifier(path)
    description, y_prob = classifier.description, classifier(images).y_prob
    assert np.allclose(y_prob, apply_temperature(before, found), atol=1e-5)
    threshold = fit_confidence_threshold(y_true, y_prob, accuracy=0.6, weights=weights)
    assert 0 < threshold < 1
    assert description.confidence_threshold == pytest.approx(threshold, abs=1e-5)
    points = fit_operating_points(y_true, y_prob, description, weights)
    assert set(points) == {"malignant", "melanoma"}
    for task, expected in points.items():
        assert description.operating_points[task] == pytest.approx(expected, abs=1e-5)
    sets = fit_prediction_sets(
        y_true, y_prob, LESIONS, CLASS_NAMES, coverage=SETTINGS.set_coverage, weights=weights
    )
    assert description.prediction_sets["thresholds"] == pytest.approx(sets["thresholds"], abs=1e-5)
    scores = classifier.detector.score(classifier.features(images))
    assert classifier.detector.threshold == pytest.approx(np.quantile(scores, 0.99), rel=1e-4)


def test_a_model_that_is_calibrated_already_is_calibrated_to_the_same(path, images):
    # As after a run that was killed at its end, and resumed.
    y_true = draw_labels(path, images)
    arguments = {32: images}, {32: images}, y_true, DATA_SETS, LESIONS, SETTINGS
    first = calibrate(path, *arguments)
    before = get_description(load_model(path))
    assert abs(first - 1) > 0.1  # otherwise there is nothing to undo
    assert calibrate(path, *arguments) == pytest.approx(first, rel=1e-3)
    after = get_description(load_model(path))
    assert after.confidence_threshold == pytest.approx(before.confidence_threshold, abs=1e-4)
