"""Photographs without a dermatoscope: scores, the threshold of a model, how both are fitted."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import CLASSES, tiny_images

import models.photographs
from benchmarks import photographs as benchmark
from models import ModelError
from models.bundle import get_description, load_model, save_model
from models.factory import build_model
from models.photographs import SIDE_LENGTH, PhotographDetector, scale_images, score_photographs
from train import parse
from training.calibration import calibrate, fit_photograph_threshold

pytestmark = pytest.mark.usefixtures("shallow_baseline")

PATH = Path(models.photographs.__file__).parent / "pretrained" / "photographs.tflite"


def smooth_images(count: int, size: int) -> np.ndarray:
    """Blurred colors: the same images at any size."""
    colors = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    scaled = [Image.fromarray(image).resize((size, size), Image.BICUBIC) for image in colors]
    return np.stack(scaled)


def test_the_file_is_small():
    assert PATH.stat().st_size < 600_000


def test_an_image_has_the_same_score_at_any_size():
    expected = score_photographs(smooth_images(6, SIDE_LENGTH))
    assert np.ptp(expected) > 1
    for size in (SIDE_LENGTH + 1, 2 * SIDE_LENGTH, 300):
        assert np.allclose(score_photographs(smooth_images(6, size)), expected, atol=0.3)


def test_fine_detail_is_averaged_not_sampled():
    # Every second pixel is black: sampling would find one color, and perhaps none of the others.
    image = np.full((1, 2 * SIDE_LENGTH, 2 * SIDE_LENGTH, 3), 200, np.uint8)
    image[:, :, ::2] = 0
    inner = scale_images(image, SIDE_LENGTH)[0, 4:-4, 4:-4]
    assert np.abs(inner.astype(int) - 100).max() <= 1


def test_the_scores_of_a_batch_are_those_of_its_images():
    images = smooth_images(5, 40)
    scores = score_photographs(images)
    assert (scores.dtype, scores.shape) == (np.float32, (5,))
    assert scores.tolist() == [score_photographs(image[None])[0] for image in images]
    assert (score_photographs(images.astype(np.float32) + 0.3) == scores).all()


def test_no_images_have_no_scores():
    scores = score_photographs(np.zeros((0, 64, 64, 3), np.uint8))
    assert (scores.dtype, scores.shape) == (np.float32, (0,))


def test_a_plain_color_has_a_finite_score():
    plain = np.broadcast_to(np.array([0, 255], np.uint8)[:, None, None, None], (2, 50, 50, 3))
    assert np.isfinite(score_photographs(plain)).all()


@pytest.mark.parametrize("content", [None, b"", b"\x1c\x00\x00\x00TFL3damaged"])
def test_a_damaged_file_is_an_error_that_names_it(content, tmp_path, monkeypatch):
    path = tmp_path / "photographs.tflite"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr("models.photographs._PATH", path)
    models.photographs._load_detector.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"photographs\.tflite: .* comes with the project"):
            score_photographs(smooth_images(1, 8))
    finally:
        models.photographs._load_detector.cache_clear()


def fit_threshold(monkeypatch, scores: list[float], data_sets: list[str]) -> float:
    monkeypatch.setattr(
        "training.calibration.score_photographs", lambda images: np.array(scores, np.float32)
    )
    images = np.zeros((len(scores), 8, 8, 3), np.uint8)
    settings = SimpleNamespace(in_distribution_fraction=0.75, photograph_fraction=0.05)
    return fit_photograph_threshold(images, data_sets, settings)


def test_dermatoscopic_images_do_not_change_the_threshold(monkeypatch):
    assert fit_threshold(monkeypatch, [-5.0, -4.0, -3.0, -2.0, -1.0], ["a"] * 5) == 0


@pytest.mark.parametrize(("above", "threshold"), [(1, 0.0), (2, 3.0)])
def test_a_few_dermatoscopic_images_above_the_threshold_do_not_change_it(
    above, threshold, monkeypatch
):
    scores = [3.0] * above + [-3.0] * (20 - above)
    settings = SimpleNamespace(in_distribution_fraction=0.95, photograph_fraction=0.05)
    monkeypatch.setattr("training.calibration.score_photographs", lambda images: np.array(scores))
    images = np.zeros((20, 8, 8, 3), np.uint8)
    assert fit_photograph_threshold(images, ["a"] * 20, settings) == threshold


def test_a_model_of_photographs_does_not_warn_about_them(monkeypatch):
    assert fit_threshold(monkeypatch, [1.0, 2.0, 3.0, 4.0, 5.0], ["a"] * 5) == 4
    # A few among many others: a quantile of all scores would be -6.
    scores = [-6.0] * 40 + [1.0, 2.0, 3.0, 4.0, 5.0]
    assert fit_threshold(monkeypatch, scores, ["a"] * 40 + ["b"] * 5) == 4


def test_the_threshold_is_saved_with_the_model(tmp_path, monkeypatch):
    images, targets = tiny_images(32)
    path = tmp_path / "model.keras"
    save_model(build_model("sequential", image_size=32, class_names=CLASSES), path)
    scores = np.linspace(9, 10, len(images), dtype=np.float32)
    outputs = 0.1 + 0.8 * targets, np.random.default_rng(0).normal(size=(len(images), 4))
    monkeypatch.setattr("training.calibration.Classifier.predict_with_features", lambda *_: outputs)
    monkeypatch.setattr("training.calibration.score_photographs", lambda images: scores)
    settings = parse(["--model", "sequential", "--batch_size", str(len(images))])
    y_true = targets.argmax(axis=1)
    data_sets, lesion_ids = ["a"] * len(images), range(len(images))
    calibrate(path, {32: images}, {32: images}, y_true, data_sets, lesion_ids, settings)
    threshold = get_description(load_model(path)).photograph_threshold
    # Of a few images, none is above.
    assert threshold == scores.max()


@pytest.fixture
def stem() -> keras.Model:
    """Two layers in place of those of MobileNetV2."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE_LENGTH, SIDE_LENGTH, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    first = keras.layers.Conv2D(4, 3, strides=4)(x)
    return keras.Model(inputs, [first, keras.layers.Conv2D(6, 3)(first)])


def test_the_file_computes_the_regression(stem):
    images = smooth_images(4, SIDE_LENGTH)
    features = np.asarray(benchmark.pool(stem(images.astype(np.float32))))
    kernel = np.linspace(-1, 1, features.shape[1])
    scores = PhotographDetector(benchmark.convert(stem, kernel, 0.5)).score(images)
    assert np.allclose(scores, features @ kernel + 0.5, atol=1e-2)


def test_pooled_are_mean_and_standard_deviation():
    output = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    pooled = np.asarray(benchmark.pool([output]))
    assert np.allclose(pooled[:, :4], output.mean(axis=(1, 2)), atol=1e-6)
    assert np.allclose(pooled[:, 4:], output.std(axis=(1, 2)), atol=1e-6)


def test_photographs_score_higher_and_no_source_counts_by_its_size():
    rng = np.random.default_rng(0)
    parts = [rng.normal(mean, 1, (60, 3)) for mean in (0, 1, 3)]
    kinds = (benchmark.DERMATOSCOPIC, benchmark.DERMATOSCOPIC, benchmark.PHOTOGRAPHS)
    sources = [benchmark.Source("", kind, pd.DataFrame()) for kind in kinds]
    kernel, bias = benchmark.fit(parts, sources)
    first, second, photographs = (float((part @ kernel + bias).mean()) for part in parts)
    assert first < second < 0 < photographs
    # With five copies of its images, the mean and spread of all change, but not its weight.
    again, _ = benchmark.fit([np.concatenate([parts[0]] * 5), *parts[1:]], sources)
    assert again @ kernel / np.linalg.norm(again) / np.linalg.norm(kernel) > 0.99


def test_the_threshold_is_moved_to_zero(stem, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    kernel = np.linspace(-1, 1, 20)
    monkeypatch.setattr(benchmark, "fit", lambda parts, sources: (kernel, 7.0))
    scores = PhotographDetector(benchmark.fit_file(stem, [], [], images)).score(images)
    assert np.quantile(scores, 0.99) == pytest.approx(0, abs=1e-3)


def test_lesions_are_held_out_whole(sample_dir):
    frame = benchmark.read_split(str(sample_dir), 0.5)
    lesions = {split: set(rows["lesion_id"]) for split, rows in frame.groupby("split")}
    assert set(lesions) == {"train", "val"}
    assert not lesions["train"] & lesions["val"]


def test_a_name_that_is_no_tflite_file_is_refused_before_anything_is_read(capsys):
    assert benchmark.main(["--data_dir", "nowhere", "--output", "a.keras"]) == 2
    assert "--output: expected a name ending in .tflite" in capsys.readouterr().err
