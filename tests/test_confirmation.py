"""Metrics of the images whose diagnosis histopathology confirmed."""

import numpy as np
import pandas as pd
import pytest

from data.ham10000 import confirmed_by_histology
from metrics.classification import classification_metrics
from metrics.confirmation import format_histology_section, histology_metrics

NAMES = ("mel", "nv", "bkl")
TASKS = {"malignant": ("mel",), "melanoma": ("mel",)}
RNG = np.random.default_rng(0)
Y_TRUE, Y_PROB = RNG.integers(0, 2, 60), RNG.dirichlet(np.ones(3), 60)
# All melanomas, and every other nevus.
HISTOLOGY = (Y_TRUE == 0) | (np.arange(60) % 2 == 0)
LESIONS = [str(i // 2) for i in range(60)]


def measure(histology=HISTOLOGY, tasks=TASKS) -> dict:
    return histology_metrics(
        Y_TRUE, Y_PROB, NAMES, histology=histology, binary_tasks=tasks, groups=LESIONS
    )


def test_the_metrics_are_those_of_these_images_alone():
    found = measure()
    rows = np.flatnonzero(HISTOLOGY)
    expected = classification_metrics(
        Y_TRUE[rows],
        Y_PROB[rows],
        NAMES,
        binary_tasks=TASKS,
        groups=np.asarray(LESIONS)[rows],
    )
    assert found["images"] == len(rows)
    for key in ("accuracy", "balanced_accuracy", "macro_roc_auc"):
        assert found[key] == expected[key]
        assert found["intervals"][key] == expected["intervals"][key]
    assert found["melanoma_roc_auc"] == expected["melanoma"]["roc_auc"]


def test_the_fraction_of_each_class_shows_that_confirmation_goes_with_it():
    found = measure()["confirmed"]
    benign = HISTOLOGY[Y_TRUE == 1].mean()
    assert found == {
        "per_class": {"mel": 1.0, "nv": pytest.approx(benign)},
        "malignant": 1.0,
        "benign": pytest.approx(benign),
    }
    assert list(measure(tasks={})["confirmed"]) == ["per_class"]


@pytest.mark.parametrize("histology", [(), [True] * 60, [False] * 60])
def test_nothing_is_measured_if_it_is_unknown_or_the_same_for_all(histology):
    assert measure(histology) == {}
    assert format_histology_section({}, {}) == ""


def test_the_report_compares_them_with_all_images():
    metrics = classification_metrics(Y_TRUE, Y_PROB, NAMES, binary_tasks=TASKS, groups=LESIONS)
    html = format_histology_section(metrics, measure())
    benign = f"{HISTOLOGY[Y_TRUE == 1].mean():.1%}".replace("%", " %")
    assert f": 100.0 % of the malignant and {benign} of the benign images here." in html
    assert html.count("<tr>") == 6
    assert f"<td>Accuracy</td><td>{metrics['accuracy']:.3f}<small>" in html
    del metrics["malignant"], metrics["melanoma"]
    plain = format_histology_section(metrics, measure(tasks={}))
    assert plain.count("<tr>") == 4
    assert "malignant" not in plain


def test_histology_has_two_names_in_tables():
    frame = pd.DataFrame({"dx_type": ["histo", "follow_up", "histopathology", "", None]})
    assert confirmed_by_histology(frame) == [True, False, True, False, False]
    assert confirmed_by_histology(frame.drop(columns="dx_type")) == []
