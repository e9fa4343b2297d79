"""The examples of the page, for models that differ in what they can say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from app.examples import choose_examples
from models.description import Description

SEVEN = Description(
    model="a", class_names=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), image_size=16
)


@pytest.fixture(autouse=True)
def _one_lesion_of_each_class(monkeypatch):
    """Generate few lesions, which takes most of the time."""
    monkeypatch.setattr("app.examples._TRIES", 1)


class Classifier:
    """Always predicts the same, and counts how often it is asked."""

    def __init__(self, description: Description, predicted: str, *, uncertain=None, outside=None):
        self.description, self.asked = description, 0
        self._answer = SimpleNamespace(
            class_indices=np.array([description.class_names.index(predicted)]),
            uncertain=None if uncertain is None else np.array([uncertain]),
            out_of_distribution=None if outside is None else np.array([outside]),
        )

    def __call__(self, images: np.ndarray) -> SimpleNamespace:
        assert images.shape == (1, self.description.image_size, self.description.image_size, 3)
        self.asked += 1
        return self._answer


def titles(classifier: Classifier) -> dict[str, str]:
    return {kind: example.title for kind, example in choose_examples(classifier).items()}


def test_a_model_without_warnings_has_one_example_and_is_asked_no_longer_than_needed():
    classifier = Classifier(SEVEN, "nv")
    assert titles(classifier) == {"right": "melanocytic nevus, predicted"}
    assert classifier.asked == 2  # for a lesion and the test card


def test_what_the_model_predicts_wrong_or_calls_out_of_distribution_is_no_example_of_a_lesion():
    assert titles(Classifier(SEVEN, "df")) == {}
    outside = Classifier(SEVEN, "nv", outside=True)
    assert titles(outside) == {"out_of_distribution": "test card, out of distribution"}


def test_an_uncertain_prediction_is_not_shown_as_a_sure_one():
    description = replace(SEVEN, confidence_threshold=0.7, threshold_accuracy=0.9)
    uncertain = Classifier(description, "mel", uncertain=True, outside=False)
    assert titles(uncertain) == {"uncertain": "melanoma, uncertain"}
    sure = Classifier(description, "mel", uncertain=False, outside=False)
    assert titles(sure) == {"right": "melanoma, predicted"}


def test_a_class_may_have_another_name_and_a_model_none_of_the_classes():
    description = replace(SEVEN, class_names=("Melanoma", "other"))
    assert titles(Classifier(description, "Melanoma")) == {"right": "melanoma, predicted"}
    assert titles(Classifier(replace(SEVEN, class_names=("wart", "scar")), "wart")) == {}
