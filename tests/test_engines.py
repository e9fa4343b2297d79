"""Which engine runs a `.keras` file, and what is kept of its conversion."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from config import EvaluateConfig, PredictConfig
from models import ModelError, ModelWarning
from models.bundle import save_model, update_description
from models.classifier import load_classifier
from models.conversion_cache import cache_folder, keep_conversion, read_conversion
from models.engines import TOLERANCE, ConvertedModel
from models.factory import build_model

ROOT = Path(__file__).parent.parent
CLASS_NAMES = ("a", "b", "c")

PREDICT = """
import sys
if sys.argv[1] == "without":
    sys.modules["ai_edge_litert"] = None
import predict
code = predict.main(["--image", sys.argv[2], "--output", sys.argv[3], "--verbose"])
print("imported:", sorted({"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.fixture(autouse=True)
def _conversions_of_its_own(monkeypatch):
    """Keep the conversions of each test in a folder of its own, where they are without tests."""
    monkeypatch.setattr("models.conversion_cache.cache_folder", cache_folder)


def random_images(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.fixture
def path(tmp_path, shallow_baseline) -> Path:
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    update_description(model, confidence_threshold=0.5, threshold_accuracy=0.9)
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def no_conversion(monkeypatch):
    """A function after which nothing can be converted, or loaded by Keras."""

    def fail(*_, **__):
        raise AssertionError("converted again")

    def forbid() -> None:
        monkeypatch.setattr("models.engines._convert", fail)
        monkeypatch.setattr("models.engines._open_with_keras", fail)

    return forbid


def test_litert_predicts_and_explains_what_keras_does(path):
    images = random_images(5)
    expected, converted = load_classifier(path), load_classifier(path, engine="auto")
    assert isinstance(converted.network, ConvertedModel)
    assert (expected.engine[:5], converted.engine[:6]) == ("Keras", "LiteRT")
    assert converted.description == expected.description
    outputs = [model.predict_with_features(images) for model in (converted, expected)]
    for mine, other in zip(*outputs, strict=True):
        assert np.allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)
    mine, other = converted(images, tta=True), expected(images, tta=True)
    assert np.allclose(mine.y_prob, other.y_prob, atol=TOLERANCE)
    assert (mine.uncertain == other.uncertain).all()
    classes = np.array([0, 1, 2, 0, 1])
    assert np.array_equal(converted.explain(images, classes), expected.explain(images, classes))
    assert converted(random_images(0)).y_prob.shape == (0, 3)


def test_a_file_is_converted_once_and_a_changed_file_again(path, no_conversion):
    images = random_images(2)
    first = load_classifier(path, engine="litert")(images).y_prob
    (kept,) = cache_folder().iterdir()
    before = path.read_bytes()
    save_model(build_model("sequential", image_size=32, class_names=CLASS_NAMES), path)
    load_classifier(path, engine="litert")
    assert len(list(cache_folder().iterdir())) == 2
    no_conversion()
    path.write_bytes(before)
    # Under another name, too: the key is the content.
    path = path.rename(path.with_name("other.keras"))
    assert (load_classifier(path, engine="litert")(images).y_prob == first).all()
    assert kept.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [lambda c: c[:-100], lambda c: c[:50], lambda c: c[:9] + b"xx" + c[11:]]
)
def test_a_damaged_conversion_is_made_again(path, damage):
    expected = load_classifier(path, engine="litert")(random_images(1)).y_prob
    (kept,) = cache_folder().iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert (load_classifier(path, engine="litert")(random_images(1)).y_prob == expected).all()
    assert len(kept.read_bytes()) == len(whole)


@pytest.mark.slow
def test_explanations_can_be_prepared_in_the_background(path):
    load_classifier(path, engine="litert")
    classifier, expected = load_classifier(path, engine="litert"), load_classifier(path)
    classifier.prepare_explanations()
    images, classes = random_images(1), np.array([1])
    assert np.array_equal(classifier.explain(images, classes), expected.explain(images, classes))


def test_a_file_that_changed_in_use_does_not_explain_the_predictions_of_another(path):
    load_classifier(path, engine="litert")
    classifier = load_classifier(path, engine="litert")
    save_model(build_model("sequential", image_size=32, class_names=CLASS_NAMES), path)
    with pytest.raises(ModelError, match=r"model\.keras: the file changed while it was in use"):
        classifier.explain(random_images(1), np.array([1]))


@pytest.mark.parametrize("reason", ["the converter fails", "the results differ"])
def test_what_litert_cannot_run_runs_on_keras_and_is_not_tried_again(path, monkeypatch, reason):
    if reason == "the converter fails":
        monkeypatch.setattr("models.tflite_conversion.to_flatbuffer", raise_error)
    else:
        monkeypatch.setattr("models.engines.TOLERANCE", -1.0)
    assert load_classifier(path, engine="auto").engine.startswith("Keras")
    monkeypatch.setattr("models.engines._convert", raise_error)
    assert load_classifier(path, engine="auto").engine.startswith("Keras")
    with pytest.raises(
        ModelError, match=r"model\.keras: expected a model that LiteRT can run, received"
    ):
        load_classifier(path, engine="litert")


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_what_failed_for_want_of_memory_or_space_is_tried_again(path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("models.tflite_conversion.to_flatbuffer", fail)
        assert load_classifier(path, engine="auto").engine.startswith("Keras")
    assert load_classifier(path, engine="auto").engine.startswith("LiteRT")


def test_that_a_model_cannot_be_converted_holds_for_a_day():
    keep_conversion("a", b"")
    assert read_conversion("a") == b""
    (kept,) = cache_folder().iterdir()
    os.utime(kept, (1, 1))
    assert read_conversion("a") is None


def raise_error(*_, **__):
    raise RuntimeError("no such operation")


def test_a_cache_that_cannot_be_written_is_a_warning(path, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.warns(
        ModelWarning, match="is not kept, and made again each time: expected a writable folder"
    ):
        classifier = load_classifier(path, engine="auto")
    assert classifier.engine.startswith("LiteRT")


def test_the_conversions_that_were_used_longest_ago_are_removed(monkeypatch):
    monkeypatch.setattr("models.conversion_cache._MAX_FILES", 3)
    for i in range(3):
        keep_conversion(f"{i}", bytes([i]))
        (kept,) = cache_folder().glob(f"{i}-*")
        os.utime(kept, (i, i))
    assert read_conversion("0") == b"\0"  # used now
    keep_conversion("3", b"3")
    assert [read_conversion(str(i)) for i in range(4)] == [b"\0", None, b"\2", b"3"]


def test_what_killed_processes_left_counts_as_kept_and_is_removed_as_that(monkeypatch):
    monkeypatch.setattr("models.conversion_cache._MAX_FILES", 2)
    keep_conversion("a", b"a")
    old, new = cache_folder() / ".x.0.part.tflite", cache_folder() / ".x.1.part.tflite"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    keep_conversion("b", b"b")
    assert not old.exists()
    assert read_conversion("b") == b"b"


def test_processes_that_keep_the_same_conversion_leave_it_whole():
    content = bytes(range(256)) * 4000
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda _: keep_conversion("a", content), range(40)):
            assert read_conversion("a") == content
    assert [path.suffix for path in cache_folder().iterdir()] == [".tflite"]


@pytest.mark.parametrize("settings", [PredictConfig, EvaluateConfig])
def test_an_engine_is_for_keras_files(settings):
    given = {"model_path": ("a.keras", "b.tflite")} | (
        {"image": ("a.jpg",)} if settings is PredictConfig else {}
    )
    settings(**given)
    with pytest.raises(
        ValueError, match=r"--engine keras needs the \.keras file of a model, received b"
    ):
        settings(**given, engine="keras")


def run_predict(tmp_path: Path, how: str) -> tuple[str, str]:
    output = tmp_path / f"{how}.csv"
    command = [sys.executable, "-c", PREDICT, how, str(ROOT / "docs" / "sample.jpg"), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout, output.read_text()


@pytest.mark.slow
def test_predict_imports_tensorflow_only_where_it_is_needed(tmp_path):
    pytest.importorskip("ai_edge_litert")
    out, rows = run_predict(tmp_path, "with")
    assert "Engine: LiteRT (ai-edge-litert" in out
    again, same = run_predict(tmp_path, "with")
    assert "imported: []" in again
    without, other = run_predict(tmp_path, "without")
    assert "tensorflow" in without.splitlines()[-1]
    assert rows == same
    assert rows.splitlines()[0] == other.splitlines()[0]
