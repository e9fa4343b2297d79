import base64
import math
from dataclasses import replace

import numpy as np
import pytest

from models import ModelError
from models.novelty import (
    NoveltyDetector,
    fit_detector,
    list_warnings,
    missing_warnings,
    read_detector,
)


@pytest.fixture
def features() -> np.ndarray:
    """Pictures that vary along two of eight features, and hardly in the others."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(400, 8)) * (3, 2, *[0.3] * 6) + 5).astype(np.float32)


def test_score_is_the_mahalanobis_distance_divided_by_the_features():
    detector = NoveltyDetector(
        mean=np.array([1, 1, 1, 1], np.float32),
        variances=np.array([4], np.float32),
        components=np.array([[1, 0, 0, 0]], np.float16),
        residual_variance=0.5,
    )
    # Of equal length (2, 0, 0, 0): along the component 1² / 4, outside 3 / 0.5; and (0, 2, 0, 0).
    assert detector.score(np.array([[3, 0, 0, 0]]))[0] == pytest.approx((1 / 4 + 6) / 4)
    assert detector.score(np.array([[0, 7, 0, 0]]))[0] == pytest.approx((1 / 4 + 6) / 4)
    # At the mean, and whatever its length.
    assert detector.score(np.array([[5, 5, 5, 5]]))[0] == pytest.approx(0)


def test_training_pictures_score_about_one_and_others_more(features):
    detector = fit_detector(features, components=2)
    assert detector.score(features).mean() == pytest.approx(1, abs=0.1)
    odd = features[:5].copy()
    odd[:, 6] += 4  # an amount that is nothing for the first feature
    assert detector.score(odd).min() > np.median(detector.score(features))
    assert np.median(detector.score(odd)) > detector.score(features).max()


def test_a_detector_survives_its_way_through_a_file(features):
    detector = replace(fit_detector(features, components=3), threshold=2.5)
    again = read_detector(detector.to_config(), features=8)
    assert (again.score(features) == detector.score(features)).all()
    assert again.threshold == 2.5
    assert read_detector(None, features=8) is None


def test_a_picture_without_any_feature_has_a_score(features):
    assert np.isfinite(fit_detector(features, components=3).score(np.zeros((1, 8)))).all()


def test_few_pictures_and_constant_features_give_a_detector_all_the_same():
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
def test_what_is_no_detector_is_refused_in_one_line(features, change):
    config = replace(fit_detector(features, components=3), threshold=2.0).to_config()
    with pytest.raises(ModelError, match="detector") as caught:
        read_detector(config | change, features=8)
    assert "\n" not in str(caught.value)


def test_a_detector_of_another_model_is_refused(features):
    config = replace(fit_detector(features, components=3), threshold=2.0).to_config()
    with pytest.raises(ModelError, match="than 9 features need"):
        read_detector(config, features=9)


def test_warnings_come_on_their_side_of_the_thresholds(features):
    detector = replace(fit_detector(features, components=2), threshold=2.0)
    known = {"unsure_below": 0.7, "unsure_accuracy": 0.9, "detector": detector}
    assert list_warnings(0.7, 2.0, **known) == {}
    assert list(list_warnings(0.69, 2.1, **known)) == ["unlike", "unsure"]
    sentence = list_warnings(0.5, 0, **known)["unsure"]
    assert "only 50%. Of its answers with 70% or more, 90% were right." in sentence
    assert "as always" in list_warnings(0.5, 0, **{**known, "unsure_below": 1.0})["unsure"]


def test_a_model_without_warnings_gives_none_and_says_so():
    known = {"unsure_below": None, "unsure_accuracy": None, "detector": None}
    assert list_warnings(0.2, 1e9, **known) == {}
    both = missing_warnings(unsure_below=None, detector=None)
    assert both.endswith("of unsure answers or of pictures that are no dermatoscopic ones")
    one = missing_warnings(unsure_below=0.5, detector=None)
    assert one == "this model file cannot warn of pictures that are no dermatoscopic ones"
