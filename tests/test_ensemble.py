"""Several models asked together."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from data.fingerprints import pack_hashes, unpack_hashes
from models import ModelError
from models.bundle import save_model, update_description
from models.description import Description
from models.ensemble import (
    Ensemble,
    are_folds,
    describe_ensemble,
    load_predictor,
    mutual_information,
)
from models.factory import build_model
from models.predictions import Predictions

pytestmark = pytest.mark.usefixtures("shallow_baseline")

NAMES = ("mel", "nv", "bkl")


class Member:
    """A model that predicts what it is told."""

    def __init__(self, y_prob, *, outside=None, heat=None, **fields) -> None:
        values = {"confidence_threshold": 0.5, "threshold_accuracy": 0.9, "malignant": ("mel",)}
        values |= fields
        self.description = Description("mobilenet", NAMES, 8, **values)
        self.path, self.can_explain, self.missing_warnings = "m.keras", heat is not None, ""
        self._heat, self._outside = heat, outside
        self._y_prob = np.array(y_prob, np.float32)

    def __call__(self, images, *, tta=False):
        return Predictions(
            y_prob=self._y_prob,
            uncalibrated=self._y_prob.astype(np.float64),
            uncertain=None,
            out_of_distribution=self._outside,
        )

    def explain(self, images, class_indices):
        return np.array(self._heat, np.float32)


IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
FIRST = [[0.9, 0.1, 0.0], [0.2, 0.2, 0.6]]
SECOND = [[0.1, 0.9, 0.0], [0.2, 0.2, 0.6]]


def test_probabilities_are_averaged_and_their_disagreement_is_told():
    predictions = Ensemble([Member(FIRST), Member(SECOND)])(IMAGES)
    assert np.allclose(predictions.y_prob, [[0.5, 0.5, 0], [0.2, 0.2, 0.6]])
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert np.allclose(predictions.disagreement, [np.log(2) - entropy, 0], atol=1e-6)


def test_mutual_information_is_between_zero_and_the_logarithm_of_the_number_of_models():
    certain = np.eye(3)[:, None]
    assert np.allclose(mutual_information(certain), [np.log(3)])
    rng = np.random.default_rng(0)
    values = mutual_information(rng.dirichlet(np.ones(4), (5, 100)))
    assert (values >= 0).all()
    assert (values <= np.log(5)).all()


def test_an_image_is_uncertain_below_the_mean_of_the_thresholds():
    members = [Member(FIRST, confidence_threshold=0.4), Member(SECOND, confidence_threshold=0.7)]
    assert Ensemble(members)(IMAGES).uncertain.tolist() == [True, False]
    members.append(Member(FIRST, confidence_threshold=None, threshold_accuracy=None))
    assert Ensemble(members)(IMAGES).uncertain is None


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([(True, False), (False, False)], [True, False]),
        ([(True, True), (False, False), (False, True)], [False, True]),
        ([(True, False), None], [True, False]),
        ([None, None], None),
    ],
)
def test_half_of_the_members_that_can_tell_decide_what_is_out_of_distribution(flags, expected):
    members = [Member(FIRST, outside=None if f is None else np.array(f)) for f in flags]
    found = Ensemble(members)(IMAGES).out_of_distribution
    assert expected is None if found is None else found.tolist() == expected


def test_the_heat_map_is_the_mean_of_all_scaled_to_one():
    maps = np.zeros((2, 2, 8, 8))
    maps[0, 0, 0, 0], maps[1, 0, 0, 0], maps[1, 0, 1, 1] = 1.0, 0.5, 1.0
    ensemble = Ensemble([Member(FIRST, heat=maps[0]), Member(SECOND, heat=maps[1])])
    heat_maps = ensemble.explain(IMAGES, np.array([0, 0]))
    assert (heat_maps[0, 0, 0], heat_maps[0, 1, 1]) == pytest.approx((1.0, 2 / 3))
    assert not heat_maps[1].any()
    assert not Ensemble([Member(FIRST, heat=maps[0]), Member(SECOND)]).can_explain


def test_an_ensemble_knows_what_any_member_knows():
    first = Member(
        FIRST,
        train_image_ids=("a", "b"),
        validation_image_ids=("c", "d"),
        train_pixel_hashes=pack_hashes(["11" * 8, "22" * 8]),
        validation_pixel_hashes=pack_hashes(["33" * 8]),
        data_name="HAM10000",
        date="2026-11-01",
        temperature=1.0,
        operating_points={"melanoma": {"specificity_0.90": 0.5}},
        prediction_sets={"coverage": 0.9, "thresholds": dict.fromkeys(NAMES, 0.5)},
    )
    second = Member(
        SECOND,
        train_image_ids=("b", "c"),
        validation_image_ids=("a", "d"),
        train_pixel_hashes=pack_hashes(["33" * 8]),
        validation_pixel_hashes=pack_hashes(["44" * 8]),
        data_name="HAM10000 + msk",
        date="2026-11-03",
        temperature=2.0,
        synthetic=True,
    )
    description = describe_ensemble([first, second])
    # Nobody fitted these to the mean of the probabilities.
    assert description.operating_points is description.prediction_sets is None
    assert description.train_image_ids == ("a", "b", "c")
    assert description.validation_image_ids == ("d",)
    assert unpack_hashes(description.train_pixel_hashes) == {"11" * 8, "22" * 8, "33" * 8}
    assert unpack_hashes(description.validation_pixel_hashes) == {"44" * 8}
    assert (description.temperature, description.synthetic) == (1.5, True)
    assert description.origin == ("trained on 3 synthetic images, 2026-11-01 to 2026-11-03")


def test_an_ensemble_knows_the_lesions_and_patients_of_any_member():
    first = Member(FIRST, train_lesion_ids=("A",), train_patient_ids=("p",))
    known = {"train_lesion_ids": ("B",), "validation_lesion_ids": ("A", "C")}
    second = Member(SECOND, **known, validation_patient_ids=("p", "q"))
    description = describe_ensemble([first, second])
    assert description.train_lesion_ids == ("A", "B")
    assert description.validation_lesion_ids == ("C",)
    assert description.train_patient_ids == ("p",)
    assert description.validation_patient_ids == ("q",)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"class_names": ("mel", "nv")}, "same classes .* with mel, nv, bkl and .* with mel, nv;"),
        ({"image_size": 16}, "same image size .* with 8 and .* with 16;"),
        ({"malignant": ()}, "same malignant classes"),
    ],
)
def test_models_that_do_not_fit_together_are_one_clear_line(other, message):
    second = Member(SECOND)
    second.description = replace(second.description, **other)
    with pytest.raises(ModelError, match=message):
        Ensemble([Member(FIRST), second])


def test_files_are_loaded_as_one_model_or_as_an_ensemble(tmp_path):
    paths = [tmp_path / "a.keras", tmp_path / "b.keras"]
    for path in paths:
        model = build_model("sequential", image_size=32, class_names=NAMES)
        update_description(model, date="2026-11-01", data_name="x", train_image_ids=("i",))
        save_model(model, path)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    members = [load_predictor([path]) for path in paths]
    ensemble = load_predictor(paths)
    expected = np.mean([member(images).y_prob for member in members], axis=0)
    assert np.allclose(ensemble(images).y_prob, expected, atol=1e-6)
    views = np.mean([member(images, tta=True).y_prob for member in members], axis=0)
    assert np.allclose(ensemble(images, tta=True).y_prob, views, atol=1e-6)
    assert not np.allclose(views, expected, atol=1e-6)
    assert ensemble.can_explain
    with pytest.raises(ModelError, match=r"a\.keras twice"):
        load_predictor([paths[0], tmp_path / "." / "a.keras"])


def test_folds_of_different_image_sizes_are_asked_one_by_one():
    members = [Member(FIRST), Member(SECOND)]
    for member, (train, validation), size in zip(members, ("ab", "ba"), (8, 16), strict=True):
        known = {"train_image_ids": (train,), "validation_image_ids": (validation,)}
        member.description = replace(member.description, image_size=size, **known)
    ensemble = Ensemble(members)
    assert ensemble.description.train_image_ids == ("a", "b")
    with pytest.raises(ModelError, match="same image size"):
        ensemble(np.zeros((1, 8, 8, 3), np.uint8))


def describe_fold(train: str, validation: str) -> SimpleNamespace:
    return SimpleNamespace(train_image_ids=tuple(train), validation_image_ids=tuple(validation))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([("cd", "ab"), ("ab", "cd")], True),
        ([("bc", "a"), ("ac", "b"), ("ab", "c")], True),
        # Two of three folds are out of fold all the same.
        ([("bc", "a"), ("ac", "b")], True),
        # The same split twice, splits of different seeds, one model, models without validation.
        ([("cd", "ab"), ("cd", "ab")], False),
        ([("cd", "ab"), ("ad", "bc")], False),
        ([("cd", "ab")], False),
        ([("ab", ""), ("ab", "")], False),
    ],
)
def test_folds_are_recognized_by_their_images(models, expected):
    assert are_folds([describe_fold(*model) for model in models]) is expected
