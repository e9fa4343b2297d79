"""The bundled models: that of `config.BUNDLED_MODEL`, and the one before it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import config
import evaluate
from data.ham10000 import CLASS_NAMES, MALIGNANT
from data.sources import drop_missing, read_dataset
from data.splits import select_split
from models.checksums import is_bundled
from models.classifier import Classifier, load_classifier
from models.engines import TOLERANCE

ROOT = Path(__file__).parent.parent
BUNDLED = ROOT / config.BUNDLED_MODEL
PATH = ROOT / "models/pretrained/mobilenet_ham10000.keras"
PATHS = {"bundled": BUNDLED, "earlier": PATH}


@pytest.fixture(scope="module", params=list(PATHS))
def either(request) -> tuple[str, Classifier]:
    return request.param, load_classifier(PATHS[request.param])


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(PATH)


def test_it_is_small_and_describes_itself(either):
    name, classifier = either
    parameters = {"bundled": 3_421_991, "earlier": 2_266_951}
    assert classifier.network.model.count_params() == parameters[name]
    assert PATHS[name].stat().st_size < 1.3 * 4 * parameters[name]
    description = classifier.description
    model = {"bundled": "efficientnet_lite", "earlier": "mobilenet"}[name]
    assert (description.model, description.class_names) == (model, CLASS_NAMES)
    temperature = {"bundled": 0.888, "earlier": 0.838}[name]
    assert description.temperature == pytest.approx(temperature, abs=1e-3)
    size = description.image_size
    assert classifier.network.model.input_shape == (None, size, size, 3)
    assert description.malignant == MALIGNANT
    assert classifier.detector.threshold == description.detector["threshold"] > 1


def test_the_bundled_model_has_thresholds_and_the_origin_of_its_training():
    description = load_classifier(BUNDLED).description
    assert description.origin == (
        "trained on 10,574 images (HAM10000 9,010, ISIC2017_MSK 1,564), 2026-11-29"
    )
    assert description.melanomas == {"split": "validation", "count": 150, "missed": 63}
    assert set(description.operating_points) == {"malignant", "melanoma"}
    assert set(description.prediction_sets["thresholds"]) == set(CLASS_NAMES)
    assert len(description.train_image_ids) == 10_574
    assert len(description.validation_image_ids) == 1180
    assert not set(description.train_lesion_ids) & set(description.validation_lesion_ids)


def test_its_file_is_known_by_its_checksum_wherever_it_lies(tmp_path):
    copy = tmp_path / "copy.keras"
    copy.write_bytes(PATH.read_bytes())
    assert is_bundled(copy)
    copy.write_bytes(PATH.read_bytes() + b" ")
    assert not is_bundled(copy)


def test_its_file_holds_thresholds_origin_and_missed_melanomas(classifier):
    description = classifier.description
    assert description.origin == "trained on 7,009 images of HAM10000, 2026-11-23"
    assert description.melanomas == {"split": "test", "count": 167, "missed": 75}
    assert description.confidence_threshold == 0.6862695813179016
    assert description.threshold_accuracy == 0.9


def test_it_was_trained_on_seven_tenths_of_ham10000_without_lesions_in_two_splits(classifier):
    description = classifier.description
    assert len(description.train_image_ids) == 7009
    assert len(description.validation_image_ids) == 1504
    assert not set(description.train_lesion_ids) & set(description.validation_lesion_ids)


def test_its_weights_are_those_at_the_end_of_its_training(either):
    # The files were rewritten, for the origin and the like, with the weights of these hashes.
    name, classifier = either
    content = b"".join(weight.tobytes() for weight in classifier.network.model.get_weights())
    expected = {
        "bundled": "2b84e0678ce07f2fd51985e366689378502548a0f32876fb618c56d8294d4feb",
        "earlier": "43a4d74c680a43bd158740785b8aa0273e06e2f3e7f029c99e9418c307744628",
    }
    assert hashlib.sha256(content).hexdigest() == expected[name]


@pytest.mark.slow
def test_litert_gives_its_probabilities_features_and_warnings(either):
    name, classifier = either
    size = classifier.description.image_size
    images = np.random.default_rng(1).integers(0, 256, (4, size, size, 3), np.uint8)
    converted = load_classifier(PATHS[name], engine="litert")
    for mine, other in zip(converted.read(images), classifier.read(images), strict=True):
        assert np.abs(mine - other).max() < TOLERANCE
    mine, other = converted(images), classifier(images)
    assert (mine.out_of_distribution == other.out_of_distribution).all()
    assert np.array_equal(mine.prediction_set, other.prediction_set)


def test_it_predicts_probabilities_and_warns_of_noise(either):
    _, classifier = either
    size = classifier.description.image_size
    noise = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    predictions = classifier(noise)
    assert np.allclose(predictions.y_prob.sum(axis=1), 1, atol=1e-5)
    assert np.abs(predictions.y_prob[0] - predictions.y_prob[1]).max() > 1e-4
    assert classifier.missing_warnings == ""
    assert predictions.out_of_distribution.all()


def test_its_test_split_has_no_lesion_of_its_training(classifier, ham10000_dir):
    description = classifier.description
    frame, _ = drop_missing(read_dataset(ham10000_dir).frame, ham10000_dir)
    test_split = select_split(frame, "test", description)
    assert len(test_split) == 1502
    known = {*description.train_lesion_ids, *description.validation_lesion_ids}
    assert not set(test_split["lesion_id"]) & known


@pytest.mark.slow
def test_it_classifies_lesions_that_were_not_in_its_training(tmp_path, ham10000_dir):
    argv = ["--model_path", str(PATH), "--data_dir", ham10000_dir, "--output_dir", str(tmp_path)]
    assert evaluate.main(argv) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    # Without the near-duplicates of its training images; how many are found depends on the pixels.
    assert 1502 - 25 < metrics["images"] < 1502
    assert metrics["balanced_accuracy"] > 0.6
    assert metrics["accuracy"] > 0.75
