"""What a model predicts where the lesion, or all but the lesion, is hidden."""

import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from config import EvaluateConfig
from metrics.classification import classification_metrics
from metrics.occlusion import (
    Occlusion,
    format_occlusion_line,
    format_occlusion_section,
    occlusion_metrics,
)
from training.occlusion import hide, predict_occluded

SIZE = 8


def test_what_is_hidden_has_the_mean_color_of_the_image():
    images = np.zeros((2, 2, 2, 3), np.uint8)
    images[0, 0, 0] = (200, 100, 3)
    images[1] = 7
    hidden = np.array([[[True, False], [False, False]], [[True, True], [False, False]]])
    found = hide(images, hidden)
    assert found[0, 0, 0].tolist() == [50, 25, 1]
    assert (found[0][~hidden[0]] == images[0][~hidden[0]]).all()
    assert (found[1] == 7).all()
    assert found.dtype == np.uint8


def test_all_three_views_are_measured_on_the_same_images():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 2, 60), rng.dirichlet((1, 1), 60)
    rows = np.arange(0, 60, 2)
    lesion, rest = np.eye(2)[y_true[rows]], np.eye(2)[1 - y_true[rows]]
    found = occlusion_metrics(
        *(y_true, y_prob, ("mel", "nv")),
        occlusion=Occlusion(rows, lesion, rest, available=45),
        groups=np.arange(60) // 4,
    )
    assert (found["images"], found["available"], found["classes"]) == (30, 45, 2)
    assert found["lesion"]["accuracy"] == found["lesion"]["balanced_accuracy"] == 1
    assert found["surroundings"]["accuracy"] == 0
    expected = classification_metrics(
        y_true[rows], y_prob[rows], ("mel", "nv"), groups=np.arange(60)[rows] // 4
    )
    for key in ("accuracy", "balanced_accuracy"):
        assert found["whole"][key] == expected[key]
        assert found["whole"]["intervals"][key] == expected["intervals"][key]
    section = format_occlusion_section(found)
    assert "30 of the 45 images with a lesion mask" in section
    assert "a balanced accuracy of 0.500" in section
    line = format_occlusion_line(found)
    assert line.endswith("only the lesion visible 1.000, only the rest 0.000")


def test_without_masks_nothing_is_measured():
    options = {"occlusion": None, "groups": range(2)}
    assert occlusion_metrics(np.array([0, 1]), np.eye(2), ("mel", "nv"), **options) == {}


class Brightest:
    """Predicts the first class where the image has a bright pixel."""

    description = types.SimpleNamespace(image_size=SIZE)

    def __call__(self, images, *, tta):
        bright = images.reshape(len(images), -1).max(axis=1, initial=0) > 200
        return types.SimpleNamespace(y_prob=np.stack([bright, ~bright], axis=1).astype(float))


@pytest.fixture
def images(tmp_path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Six images, bright in the center, with masks of it: one covers nothing, one is missing."""
    pixels, mask = np.full((SIZE, SIZE, 3), 40, np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    pixels[3:5, 3:5] = 250
    mask[2:6, 2:6] = 255
    names = [f"i{i}" for i in range(6)]
    for name in names:
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        Image.fromarray(mask * (name != "i2")).save(tmp_path / f"{name}_segmentation.png")
    masks = {name: str(tmp_path / f"{name}_segmentation.png") for name in names[:5]}
    frame = pd.DataFrame({"image_id": names, "part": [0, 1, 0, 1, 0, 1]})
    frame["path"] = [str(tmp_path / f"{name}.png") for name in names]
    return frame, masks


def test_only_the_lesion_or_only_its_surroundings_are_visible(images):
    frame, masks = images
    settings = EvaluateConfig(model_path=("m",), batch_size=2)
    found = predict_occluded([Brightest(), Brightest()], frame, masks, settings)
    assert sorted(found.rows) == [0, 1, 3, 4]
    assert found.available == 5
    assert found.lesion[:, 0].tolist() == [1] * 4
    assert found.surroundings[:, 0].tolist() == [0] * 4
    assert predict_occluded([Brightest()] * 2, frame, {}, settings) is None


def test_the_images_are_drawn_by_their_ids_alone(images):
    frame, masks = images
    settings = EvaluateConfig(model_path=("m",))
    del masks["i2"]

    def draw(frame: pd.DataFrame) -> list[str]:
        found = predict_occluded([Brightest()] * 2, frame, masks, settings, most=2)
        assert found.available == 4
        return sorted(frame["image_id"].iloc[found.rows])

    assert len(draw(frame)) == 2
    assert draw(frame) == draw(frame[::-1].reset_index(drop=True))
