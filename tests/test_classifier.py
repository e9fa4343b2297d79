"""Asking a model: probabilities, features, views, warnings, heat maps; of all kinds of files."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from exports import KINDS, write_files

from models import ModelError
from models.bundle import load_model, save_model, update_description
from models.calibration import at_temperature_one
from models.classifier import Classifier, _flips_and_rotations, load_classifier
from models.description import Description
from models.factory import build_model
from models.novelty import fit_detector
from models.predictions import join_predictions, warning_texts
from models.tflite import pack
from models.tflite_conversion import to_flatbuffer

pytestmark = pytest.mark.usefixtures("shallow_baseline")

DESCRIPTION = Description("m", ("a", "b"), 32, confidence_threshold=0.7, threshold_accuracy=0.9)


def random_images(count: int) -> np.ndarray:
    """Flat and noisy images of many colors: noise alone would all look the same to the model."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (20, 1, 1, 3))
    noise = rng.normal(0, 1, (20, 32, 32, 3)) * rng.integers(0, 60, (20, 1, 1, 1))
    return np.clip(colors + noise, 0, 255).astype(np.uint8)[:count]


def build(name: str = "sequential") -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, image_size=32, class_names=("a", "b"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A model that gives all warnings, as a file of each kind."""
    folder = tmp_path_factory.mktemp("models")
    model = build()
    layer = model.get_layer("logits")
    layer.set_weights([40 * layer.get_weights()[0], np.array([0.3, -0.3])])
    update_description(model, temperature=0.5)
    classifier, images = Classifier(model), random_images(20)
    features = classifier.features(images)
    detector = fit_detector(features, components=4)
    update_description(
        model,
        # Half of the images are above each threshold.
        confidence_threshold=float(np.median(classifier(images).confidence)),
        threshold_accuracy=0.9,
        detector=replace(detector, threshold=np.median(detector.score(features))).to_config(),
    )
    return write_files(model, folder)


def test_the_set_of_an_image_follows_from_the_mean_of_its_views():
    model, images = build(), random_images(6)
    assert Classifier(model)(images).prediction_set is None
    update_description(
        model, prediction_sets={"coverage": 0.9, "thresholds": {"b": 0.45, "a": 0.49}}
    )
    for tta in (False, True):
        predictions = Classifier(model)(images, tta=tta)
        expected = predictions.y_prob >= [0.49, 0.45]
        expected[np.arange(6), predictions.class_indices] = True
        assert np.array_equal(predictions.prediction_set, expected)
    assert Classifier(model)(images[:0]).prediction_set.shape == (0, 2)


def test_eight_views_are_all_different_and_keep_the_pixels():
    (image,) = random_images(1)
    views = [view[0] for view in _flips_and_rotations(image[None])]
    assert (views[0] == image).all()
    assert len({view.tobytes() for view in views}) == 8
    for view in views:
        assert (np.sort(view.ravel()) == np.sort(image.ravel())).all()


def test_the_average_over_the_views_does_not_depend_on_the_orientation():
    classifier = Classifier(build())
    upright = random_images(2)
    rotated = np.rot90(upright, axes=(1, 2))[:, ::-1]
    plain = [classifier(images).y_prob for images in (upright, rotated)]
    averaged = [classifier(images, tta=True).y_prob for images in (upright, rotated)]
    assert np.abs(plain[0] - plain[1]).max() > 1e-6
    assert np.allclose(averaged[0], averaged[1], atol=1e-6)
    assert np.allclose(averaged[0].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_features_are_the_input_of_the_last_layer(name):
    classifier = Classifier(build(name))
    y_prob, features = classifier.predict_with_features(random_images(3))
    assert (y_prob == classifier(random_images(3)).y_prob).all()
    assert np.allclose(
        y_prob, classifier.network.model.predict_on_batch(random_images(3)), atol=1e-6
    )
    assert (features == classifier.features(random_images(3))).all()
    kernel, bias = classifier.network.model.get_layer("logits").get_weights()
    logits = features @ kernel + bias
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.allclose(y_prob, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("tta", [False, True])
def test_predictions_of_a_keras_file(files, tta):
    classifier, images = load_classifier(files["keras"]), random_images(20)
    assert (classifier.path, classifier.can_explain) == (files["keras"], True)
    assert classifier.missing_warnings == ""
    predictions = classifier(images, tta=tta)
    views = _flips_and_rotations(images) if tta else [images]
    by_view = np.stack([classifier.network.model.predict_on_batch(view) for view in views])
    assert predictions.y_prob.dtype == np.float32
    assert np.allclose(predictions.y_prob, by_view.mean(axis=0), atol=1e-6)
    expected = at_temperature_one(by_view, 0.5).mean(axis=0)
    assert np.allclose(predictions.uncalibrated, expected, atol=1e-6)
    assert (predictions.class_indices == predictions.y_prob.argmax(axis=1)).all()
    assert (predictions.confidence == predictions.y_prob.max(axis=1)).all()
    threshold = classifier.description.confidence_threshold
    assert (predictions.uncertain == (predictions.confidence < threshold)).all()
    assert 0 < predictions.uncertain.sum() < 20
    # The detector scores the images as they are, whatever the views.
    scores = classifier.detector.score(classifier.features(images))
    assert (predictions.out_of_distribution == (scores > classifier.detector.threshold)).all()
    assert predictions.out_of_distribution.sum() == 10
    expected = zip(predictions.out_of_distribution, predictions.uncertain, strict=True)
    names = ("out_of_distribution", "uncertain")
    assert [[*texts] for texts in classifier.warnings(predictions)] == [
        [name for name, warned in zip(names, row, strict=True) if warned] for row in expected
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tta", [False, True])
def test_an_exported_file_predicts_and_warns_as_the_keras_file_does(files, kind, tta):
    images = random_images(20)
    keras_file, classifier = load_classifier(files["keras"]), load_classifier(files[kind])
    expected, predictions = keras_file(images, tta=tta), classifier(images, tta=tta)
    assert np.allclose(predictions.y_prob, expected.y_prob, atol=1e-5)
    assert np.allclose(predictions.uncalibrated, expected.uncalibrated, atol=1e-5)
    assert np.allclose(classifier.features(images), keras_file.features(images), atol=1e-4)
    for name in ("uncertain", "out_of_distribution"):
        assert (getattr(predictions, name) == getattr(expected, name)).all()
        assert 0 < getattr(predictions, name).sum() < 20
    assert classifier.missing_warnings == ""


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_file_has_no_heat_maps(files, kind):
    classifier = load_classifier(files[kind])
    assert not classifier.can_explain
    with pytest.raises(ModelError, match=rf"model\.{kind}: .* gives heat maps, .* \.keras file"):
        classifier.explain(random_images(1), np.array([0]))


@pytest.fixture(scope="module")
def without_features(files) -> bytes:
    """A graph of the first versions, with probabilities as its only output."""
    return to_flatbuffer(load_model(files["keras"]), 32, "float32")


@pytest.fixture
def write_old(files, without_features, tmp_path):
    """A function that writes a file of this graph, with changes of the description."""

    def write(**changes) -> Path:
        description = replace(load_classifier(files["tflite"]).description, **changes)
        (tmp_path / "old.tflite").write_bytes(pack(description, without_features))
        return tmp_path / "old.tflite"

    return write


def test_an_old_tflite_file_without_features_still_predicts(files, write_old):
    images, path = random_images(8), write_old(detector=None)
    classifier, expected = load_classifier(path), load_classifier(files["keras"])(images)
    predictions = classifier(images)
    assert np.allclose(predictions.y_prob, expected.y_prob, atol=1e-5)
    assert predictions.uncertain.tolist() == expected.uncertain.tolist()
    # Never False where there is no detector.
    assert predictions.out_of_distribution is None
    assert classifier.missing_warnings == (
        "This model file cannot warn about images that do not look like dermatoscopic images."
    )
    with pytest.raises(ModelError, match=r"old\.tflite: .* gives features, .* export it again"):
        classifier.features(images)


def test_a_detector_without_features_is_refused(write_old):
    with pytest.raises(ModelError, match=r"old\.tflite: expected a detector .* fits the model"):
        load_classifier(write_old())


@pytest.mark.parametrize("kind", ["keras", *KINDS])
def test_no_images_give_empty_predictions(files, kind):
    classifier, none = load_classifier(files[kind]), random_images(0)
    predictions = classifier(none, tta=True)
    assert predictions.y_prob.shape == predictions.uncalibrated.shape == (0, 2)
    for values in (predictions.uncertain, predictions.class_indices, predictions.confidence):
        assert values.shape == (0,)
    assert classifier.warnings(predictions) == []
    assert predictions.out_of_distribution.shape == (0,)
    assert [values.shape for values in classifier.predict_with_features(none)] == [(0, 2), (0, 16)]
    if kind == "keras":
        assert classifier.explain(none, np.zeros(0, int)).shape == (0, 32, 32)


def test_a_confidence_at_the_threshold_is_not_uncertain():
    model, images = build(), random_images(5)
    # Between float32 values, where rounding the threshold would change the comparison.
    confidence = Classifier(model)(images).confidence.astype(np.float64)
    threshold = float(np.sort(confidence)[2])
    for value, expected in ((threshold, 2), (threshold + 1e-12, 3)):
        update_description(model, confidence_threshold=value, threshold_accuracy=0.9)
        assert Classifier(model)(images).uncertain.sum() == expected


def test_a_model_without_thresholds_gives_no_warnings_and_says_so():
    classifier = Classifier(build())
    predictions = classifier(random_images(4))
    assert classifier.path is None
    assert predictions.uncertain is None
    assert predictions.out_of_distribution is None
    assert classifier.warnings(predictions) == [{}] * 4
    assert classifier.missing_warnings == (
        "This model file cannot warn about low confidence or images that do not look like "
        "dermatoscopic images."
    )


def test_the_probabilities_of_malignant_classes_are_summed():
    model, images = build(), random_images(3)
    predictions = Classifier(model)(images)
    assert Classifier(model).malignant_probability(predictions) is None
    update_description(model, malignant=["b"])
    assert (Classifier(model).malignant_probability(predictions) == predictions.y_prob[:, 1]).all()
    update_description(model, malignant=["b", "a"])
    total = Classifier(model).malignant_probability(predictions)
    assert np.allclose(total, 1)
    assert total.max() <= 1


def test_predictions_of_batches_are_joined():
    classifier, images = Classifier(build()), random_images(5)
    joined = join_predictions([classifier(images[:2]), classifier(images[2:])])
    assert np.allclose(joined.y_prob, classifier(images).y_prob, atol=1e-6)
    assert joined.uncertain is None
    update_description(classifier.network.model, confidence_threshold=0.5, threshold_accuracy=0.9)
    classifier = Classifier(classifier.network.model)
    assert join_predictions([classifier(images[:2]), classifier(images[2:])]).uncertain.size == 5


def test_a_model_without_a_layer_named_logits_is_refused(tmp_path):
    model = build()
    layers = [*model.layers[:-2], keras.layers.Dense(2, name="other"), model.layers[-1]]
    save_model(keras.Sequential([keras.Input((32, 32, 3)), *layers]), tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"model\.keras: .* named logits, found no such layer"):
        load_classifier(tmp_path / "model.keras")


def test_a_broken_detector_is_refused_with_the_name_of_the_file(tmp_path):
    model = build()
    update_description(model, detector={"mean": "?"})
    save_model(model, tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"model\.keras: expected a detector"):
        load_classifier(tmp_path / "model.keras")


def test_warnings_name_confidence_and_threshold():
    assert warning_texts(0.8, False, False, DESCRIPTION) == {}
    texts = warning_texts(0.28, True, True, DESCRIPTION)
    assert list(texts) == ["out_of_distribution", "uncertain"]
    assert texts["out_of_distribution"].startswith(
        "Does not look like a dermatoscopic image, so the prediction means nothing."
    )
    assert texts["uncertain"] == (
        "Low confidence (28 %). On validation images, predictions above 70 % were correct 90 % of "
        "the time."
    )


def test_a_threshold_that_no_confidence_reaches_is_named_as_such():
    texts = warning_texts(0.99, True, False, replace(DESCRIPTION, confidence_threshold=1.0))
    assert texts == {
        "uncertain": "Low confidence (99 %). On validation images, no confidence was high enough "
        "for 90 % correct predictions."
    }


@pytest.fixture
def scores(monkeypatch) -> list[np.ndarray]:
    """Score images as photographs by the brightness of their first pixel; collects the images."""
    seen = []

    def score(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return images[:, 0, 0, 0].astype(np.float32)

    monkeypatch.setattr("models.classifier.score_photographs", score)
    return seen


@pytest.mark.parametrize("tta", [False, True])
def test_images_that_either_detector_finds_are_out_of_distribution(files, scores, tta):
    images = random_images(20)
    images[:10, 0, 0], images[10:, 0, 0] = 100, 101
    model = load_model(files["keras"])
    unfamiliar = Classifier(model)(images).out_of_distribution
    assert scores == []
    update_description(model, photograph_threshold=100.0)
    classifier = Classifier(model)
    assert classifier.missing_warnings == ""
    predictions = classifier(images, tta=tta)
    # A score at the threshold is not above it.
    expected = unfamiliar | (np.arange(20) >= 10)
    assert (predictions.out_of_distribution == expected).all()
    assert 10 < expected.sum() < 20
    # The images as they are, once, whatever the views.
    assert [(seen == images).all() for seen in scores] == [True]
    texts = classifier.warnings(predictions)[-1]
    assert texts["out_of_distribution"].startswith("Does not look like a dermatoscopic image")


def test_an_old_tflite_file_finds_photographs_and_says_what_it_does_not_find(scores, write_old):
    images, path = random_images(6), write_old(photograph_threshold=99.5, detector=None)
    images[:4, 0, 0], images[4:, 0, 0] = 99, 100
    classifier = load_classifier(path)
    assert classifier.description.photograph_threshold == 99.5
    assert classifier(images, tta=True).out_of_distribution.tolist() == [False] * 4 + [True] * 2
    assert classifier.missing_warnings == (
        "This model file cannot warn about images that show no skin."
    )
    assert classifier(images[:0]).out_of_distribution.shape == (0,)


def test_a_model_with_the_threshold_of_photographs_alone_warns_about_them(scores):
    model, images = build(), random_images(4)
    update_description(model, photograph_threshold=-1.0)
    assert Classifier(model)(images.astype(np.float32)).out_of_distribution.all()
    update_description(model, photograph_threshold=255.0)
    assert not Classifier(model)(images).out_of_distribution.any()
