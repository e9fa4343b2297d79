"""The detector of out-of-distribution images: scores, fit, the way through a file."""

import base64
import math
from dataclasses import replace

import numpy as np
import pytest

from models import ModelError
from models.novelty import NoveltyDetector, fit_detector, read_detector


@pytest.fixture
def features() -> np.ndarray:
    """Images that vary along two of eight features, and hardly in the others."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(400, 8)) * (3, 2, *[0.3] * 6) + 5).astype(np.float32)


def test_the_score_is_the_mahalanobis_distance_divided_by_the_number_of_features():
    detector = NoveltyDetector(
        mean=np.array([1, 1, 1, 1], np.float32),
        variances=np.array([4], np.float32),
        components=np.array([[1, 0, 0, 0]], np.float16),
        residual_variance=0.5,
    )
    # Scaled to (2, 0, 0, 0): along the component 1² / 4, outside 3 / 0.5; then to (0, 2, 0, 0).
    assert detector.score(np.array([[3, 0, 0, 0]]))[0] == pytest.approx((1 / 4 + 6) / 4)
    assert detector.score(np.array([[0, 7, 0, 0]]))[0] == pytest.approx((1 / 4 + 6) / 4)
    # At the mean, whatever the length.
    assert detector.score(np.array([[5, 5, 5, 5]]))[0] == pytest.approx(0)


def test_training_images_score_about_one_and_others_more(features):
    detector = fit_detector(features, components=2)
    assert detector.score(features).mean() == pytest.approx(1, abs=0.1)
    odd = features[:5].copy()
    odd[:, 6] += 4  # little for the first feature, much for this one
    assert detector.score(odd).min() > np.median(detector.score(features))
    assert np.median(detector.score(odd)) > detector.score(features).max()


def test_the_fit_is_the_maximum_likelihood_estimate(features):
    scaled = features / np.sqrt((features.astype(np.float64) ** 2).mean(axis=1, keepdims=True))
    variances, vectors = np.linalg.eigh(np.cov(scaled, rowvar=False, bias=True))
    detector = fit_detector(features, components=2)
    assert np.allclose(detector.variances, variances[:-3:-1])
    assert detector.residual_variance == pytest.approx(variances[:-2].mean())
    assert np.allclose(abs(detector.components @ vectors[:, :-3:-1]), np.eye(2), atol=1e-3)


def test_a_detector_from_a_file_gives_the_same_scores(features):
    detector = replace(fit_detector(features, components=3), threshold=2.5)
    loaded = read_detector(detector.to_config(), features=8)
    assert (loaded.score(features) == detector.score(features)).all()
    assert loaded.threshold == 2.5
    assert read_detector(None, features=8) is None


def test_an_image_without_any_feature_has_a_score(features):
    assert np.isfinite(fit_detector(features, components=3).score(np.zeros((1, 8)))).all()


def test_few_images_with_constant_features_still_give_a_detector():
    detector = replace(fit_detector(np.ones((3, 6)), components=32), threshold=0.0)
    assert np.isfinite(read_detector(detector.to_config(), features=6).score(np.ones((2, 6)))).all()


def text(*values: float, kind: str = "<f4") -> str:
    return base64.b64encode(np.array(values, kind).tobytes()).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"mean": text(1.0)},
        {"mean": "?"},
        {"mean": "AAA"},
        {"mean": 7},
        {"mean": text(*[math.nan] * 8)},
        {"variances": text(0.0, 1.0, 1.0)},
        {"variances": text(-1.0, 1.0, 1.0)},
        {"variances": text(1.0, math.inf, 1.0)},
        {"variances": ""},
        {"variances": text(*[1.0] * 300)},
        {"components": text(*[1.0] * 5, kind="<f2")},
        {"components": "A" * 10_000_000},
        {"threshold": None},
        {"threshold": math.nan},
        {"threshold": -1.0},
        {"threshold": "1e999"},
        {"residual_variance": 0},
        {"residual_variance": []},
        {"more": 1},
    ],
    ids=lambda change: f"{next(iter(change))}-{str(next(iter(change.values())))[:8]}",
)
def test_values_that_are_not_a_detector_are_refused_in_one_line(features, change):
    config = replace(fit_detector(features, components=3), threshold=2.0).to_config()
    with pytest.raises(ModelError, match="detector") as caught:
        read_detector(config | change, features=8)
    assert "\n" not in str(caught.value)


def test_a_detector_of_another_model_is_refused(features):
    config = replace(fit_detector(features, components=3), threshold=2.0).to_config()
    with pytest.raises(ModelError, match="arrays that do not fit 9 features"):
        read_detector(config, features=9)
