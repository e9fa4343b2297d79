"""The model that comes with the project."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import config
import evaluate
from data.ham10000 import CLASS_NAMES
from models.bundle import get_description, load_model
from models.inference import FeatureReader, predict_probabilities
from models.novelty import read_detector

PATH = Path(__file__).parent.parent / config.PRETRAINED_MODEL


@pytest.fixture(scope="module")
def model():
    return load_model(PATH)


def test_is_small_and_says_what_it_is(model):
    assert PATH.stat().st_size < 12e6
    assert model.count_params() == 2_266_951
    description = get_description(model)
    assert (description.model, description.class_names) == ("mobilenet", CLASS_NAMES)
    assert description.temperature == pytest.approx(0.838, abs=1e-3)
    assert model.input_shape == (None, description.image_size, description.image_size, 3)


def test_learned_from_seven_tenths_of_ham10000_and_keeps_lesions_apart(model):
    description = get_description(model)
    assert len(description.train_image_ids) == 7009
    assert len(description.validation_image_ids) == 1504
    assert not set(description.train_lesion_ids) & set(description.validation_lesion_ids)


def test_its_weights_are_those_that_training_ended_with(model):
    # The file was written anew when it got its temperature; the sum is that of the file before.
    content = b"".join(weight.tobytes() for weight in model.get_weights())
    assert hashlib.sha256(content).hexdigest() == (
        "43a4d74c680a43bd158740785b8aa0273e06e2f3e7f029c99e9418c307744628"
    )


def test_warns_of_unsure_answers_and_of_pictures_that_are_no_skin(model):
    description = get_description(model)
    assert description.unsure_accuracy == 0.9
    read = FeatureReader(model)
    detector = read_detector(description.detector, features=read.count)
    side = description.image_size
    noise = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    assert (detector.score(read(noise)[1]) > detector.threshold).all()


def test_answers_with_probabilities(model):
    side = get_description(model).image_size
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    y_prob = predict_probabilities(model, images)
    assert np.allclose(y_prob.sum(axis=1), 1, atol=1e-5)
    assert np.abs(y_prob[0] - y_prob[1]).max() > 1e-4


def test_its_test_split_has_no_lesion_it_has_seen(model, ham10000_dir):
    description = get_description(model)
    kept_out = evaluate.select_images(ham10000_dir, "test", description)
    assert len(kept_out) == 1502
    seen = {*description.train_lesion_ids, *description.validation_lesion_ids}
    assert not set(kept_out["lesion_id"]) & seen


@pytest.mark.slow
def test_recognises_lesions_it_has_never_seen(tmp_path, ham10000_dir):
    argv = ["--model_path", str(PATH), "--data_dir", ham10000_dir, "--output_dir", str(tmp_path)]
    assert evaluate.main(argv) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["images"] == 1502
    assert figures["balanced_accuracy"] > 0.6
    assert figures["accuracy"] > 0.75
