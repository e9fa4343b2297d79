"""The robustness benchmark: the same images for every model, exact ratios, one table, one plot."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import robustness
from benchmarks.corruptions import ARTIFACTS, CORRUPTIONS, STRENGTHS
from benchmarks.robustness import Metrics
from data import DataError
from models.bundle import save_model
from models.classifier import Classifier
from models.factory import build_model
from tests.tiny import CLASSES, tiny_images

pytestmark = pytest.mark.usefixtures("shallow_baseline")

CLEAN = Metrics(0.8, 0.9)
CORRUPTED = {
    "blur": [Metrics(value, 0.9) for value in (0.8, 0.8, 0.4, 0.4, 0.0)],
    "hair": [Metrics(value, 0.5) for value in (1.0, 0.8, 0.8, 0.8, 0.6)],
}


class BrightnessClassifier:
    """Knows dark from bright images, or takes all for the first class; keeps what it has seen."""

    def __init__(self, class_names=CLASSES, *, threshold: float = 125.0) -> None:
        self.description = SimpleNamespace(class_names=class_names)
        self.threshold, self.seen = threshold, []

    def __call__(self, images: np.ndarray) -> SimpleNamespace:
        self.seen += list(images)
        bright = images.mean(axis=(1, 2, 3)) > self.threshold
        return SimpleNamespace(y_prob=np.stack([~bright, bright], axis=1).astype(np.float32))


@pytest.fixture
def labeled():
    """Eight images, and their rows."""
    images, targets = tiny_images(8, count=8)
    labels = [CLASSES[index] for index in targets.argmax(axis=1)]
    ids = [f"image{i}" for i in range(8)]
    return images, pd.DataFrame({"image_id": ids, "label": labels})


def test_thirteen_kinds_in_five_strengths_are_measured(labeled, capsys):
    clean, corrupted = robustness.compare(BrightnessClassifier(), *labeled, None)
    assert clean == Metrics(1.0, None)
    assert list(corrupted) == [*CORRUPTIONS, *ARTIFACTS]
    assert len(corrupted) == 13
    assert {len(row) for row in corrupted.values()} == {5}
    # Without a change of the mean brightness by half, this classifier makes no mistake.
    assert corrupted["rotation"] == corrupted["blur"] == [clean] * 5
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["strength", "1", "2", "3", "4", "5", "ratio"]
    assert lines[2].split() == ["clean", "1.000"]
    assert [line[:14].strip() for line in lines[3:]] == list(corrupted)


def test_melanoma_has_an_area_of_its_own(labeled, monkeypatch):
    monkeypatch.setattr(robustness, "KINDS", ("rotation",))
    clean, _ = robustness.compare(BrightnessClassifier(), *labeled, "bright")
    assert clean == Metrics(1.0, 1.0)
    # A model that takes all images for one class ranks them at random.
    clean, _ = robustness.compare(BrightnessClassifier(threshold=300), *labeled, "bright")
    assert clean == Metrics(0.5, 0.5)


def test_without_any_correct_prediction_there_is_no_ratio(labeled):
    images, frame = labeled
    frame["label"] = frame["label"].map(dict(zip(CLASSES, CLASSES[::-1], strict=True)))
    with pytest.raises(DataError, match="received one with a balanced accuracy of 0"):
        robustness.compare(BrightnessClassifier(), images, frame, None)


def test_every_model_sees_the_same_corrupted_images_in_any_order(labeled):
    images, frame = labeled
    order = [5, 2, 7, 0]
    seeds = [robustness.image_seed(image_id) for image_id in frame["image_id"]]
    for kind in ("noise", "ruler", "brightness"):
        first, second = BrightnessClassifier(), BrightnessClassifier()
        robustness.predict(first, images, kind, 4, seeds)
        robustness.predict(second, images[order], kind, 4, [seeds[i] for i in order])
        assert (np.stack(first.seen)[order] == np.stack(second.seen)).all()
    assert len(set(seeds)) == 8


def test_clean_images_are_passed_on_as_they_are(labeled):
    classifier = BrightnessClassifier()
    robustness.predict(classifier, labeled[0], None, 0, [])
    assert (np.stack(classifier.seen) == labeled[0]).all()


def test_the_ratio_of_a_kind_is_its_mean_over_the_clean_value():
    assert robustness.ratios(CLEAN, CORRUPTED) == pytest.approx({"blur": 0.6, "hair": 1.0})


def test_rows_stand_below_their_headings():
    first, second, clean = robustness.format_header(CLEAN).splitlines()
    row = robustness.format_row("blur", CLEAN, CORRUPTED["blur"])
    assert len(first) == len(second) == len(row) <= 100
    accuracies = ["0.800", "0.800", "0.400", "0.400", "0.000"]
    assert row.split() == ["blur", *accuracies, "0.600", *5 * ["0.900"]]
    assert [clean.index(value) for value in ("0.800", "0.900")] == [
        row.index(value) for value in ("0.800", "0.900")
    ]


def test_without_melanoma_the_table_has_no_column_for_it():
    clean = Metrics(0.8, None)
    assert "melanoma" not in robustness.format_header(clean)
    row = robustness.format_row("blur", clean, [Metrics(0.4, None)] * 5)
    assert row.split() == ["blur"] + 5 * ["0.400"] + ["0.500"]


@pytest.mark.parametrize(
    ("labels", "melanoma", "reason"),
    [
        (["nv", "mel"], "mel", ""),
        (["dark", "bright"], None, "the model has no class that is melanoma"),
        (["nv", "bcc"], "mel", "none of the images is a melanoma (mel)"),
        (["mel", "mel"], "mel", "all images are melanomas (mel)"),
    ],
)
def test_a_missing_melanoma_column_is_explained(labels, melanoma, reason):
    assert robustness.why_without_melanoma(labels, melanoma) == reason


@pytest.mark.parametrize(("clean", "panels"), [(CLEAN, 2), (Metrics(0.8, None), 1)])
def test_the_plot_shows_every_value_in_a_panel_for_each_metric(clean, panels):
    figure = robustness.plot(clean, CORRUPTED, title="a")
    *heat_maps, _ = figure.axes
    assert len(heat_maps) == panels
    assert [text.get_text() for text in heat_maps[0].texts] == [
        f"{metrics.balanced_accuracy:.2f}" for row in CORRUPTED.values() for metrics in row
    ]
    assert [tick.get_text() for tick in heat_maps[0].get_yticklabels()] == list(CORRUPTED)


@pytest.fixture
def model_path(tmp_path):
    """A file of a model with random weights."""
    model = build_model("sequential", image_size=32, class_names=("mel", "nv"))
    save_model(model, tmp_path / "model.keras")
    return tmp_path / "model.keras"


def test_the_command_prints_the_table_and_ends_with_the_ratio(
    model_path, tmp_path, write_ham10000, monkeypatch, capsys
):
    monkeypatch.setattr(robustness, "KINDS", ("gamma", "vignette"))
    labels = {f"ISIC_{i}": "mel" if i % 4 == 0 else "nv" for i in range(8)}
    output = tmp_path / "new" / "plot.png"
    options = {"model_path": model_path, "data_dir": write_ham10000(labels), "output": output}
    argv = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    assert robustness.main([*argv, "--images", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"{model_path}, 32 px")
    assert lines[start + 1] in (
        "4 of 8 images of split test: 2 mel, 2 nv",
        "4 of 8 images of split test: 2 nv, 2 mel",
    )
    assert lines[start + 2] == "pixels of their files: 4 of 16 x 12"
    assert any(line.startswith("vignette ") for line in lines)
    assert lines[-2].endswith("mean over 2 kinds in 5 strengths, each on the same 4 images.")
    assert re.fullmatch(r"ratio: \d\.\d{3}", lines[-1])
    with Image.open(output) as image:
        # Sharp on a wide screen, and no wider than two narrow panels need.
        assert 1200 <= image.width <= 1400


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--output", "plot.svg", "--output: expected a name ending in .png, received 'plot.svg'"),
        ("--model_path", "nowhere.keras", "--model_path: nowhere.keras: model file not found"),
        ("--images", "0", "--images: expected an integer of at least 1, received '0'"),
    ],
)
def test_bad_options_are_an_error_in_one_line(flag, value, message, capsys):
    try:
        code = robustness.main([flag, value])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_real_classifier_is_asked_as_any_other(labeled, monkeypatch):
    monkeypatch.setattr(robustness, "KINDS", ("blur",))
    images, frame = labeled
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    clean, corrupted = robustness.compare(Classifier(model), images, frame, None)
    assert 0 < clean.balanced_accuracy <= 1
    assert len(corrupted["blur"]) == len(STRENGTHS)
