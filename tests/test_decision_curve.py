"""Net benefit of a model, of treating all, and of treating none."""

import numpy as np
import pytest

from metrics.curves import plot_decision_curve
from metrics.decision_curve import (
    THRESHOLDS,
    decision_curve,
    format_decision_section,
    net_benefit,
)

Y_TRUE = np.array([True, True, False, False, False, False, False, False, False, False])
SCORE = np.array([0.9, 0.15, 0.4, 0.25, 0.1, 0.05, 0.05, 0.02, 0.0, 0.0])


@pytest.fixture(scope="module")
def curve() -> list[dict]:
    return decision_curve(Y_TRUE, SCORE, groups=range(10))


def test_the_net_benefit_is_that_of_vickers_and_elkin(curve):
    by_threshold = {row["threshold"]: row for row in curve}
    # At 20 %, one true and two false positives of ten, which count as a quarter each.
    assert by_threshold[0.2]["model"] == pytest.approx(1 / 10 - 2 / 10 * 0.25)
    assert by_threshold[0.2]["treat_all"] == pytest.approx(2 / 10 - 8 / 10 * 0.25)
    # A score at the threshold is treated: at 10 %, two true and three false positives.
    assert by_threshold[0.1]["model"] == pytest.approx(2 / 10 - 3 / 10 / 9)
    assert by_threshold[0.5]["model"] == pytest.approx(0.1)
    assert by_threshold[0.5]["treat_all"] == pytest.approx(0.2 - 0.8)
    low, high = by_threshold[0.2]["interval"]
    assert low < by_threshold[0.2]["model"] < high
    assert tuple(by_threshold) == THRESHOLDS


def test_treating_all_is_worth_nothing_at_the_prevalence(curve):
    (row,) = [row for row in curve if row["threshold"] == Y_TRUE.mean()]
    assert row["treat_all"] == pytest.approx(0)


def test_a_perfect_model_gains_the_prevalence_and_weights_are_counts():
    ones = np.ones((1, 10))
    assert net_benefit(Y_TRUE, Y_TRUE, ones, 0.3) == pytest.approx(0.2)
    assert net_benefit(Y_TRUE, np.zeros(10, bool), ones, 0.3) == 0
    counts = np.arange(10)
    repeated = net_benefit(
        np.repeat(Y_TRUE, counts), np.repeat(SCORE >= 0.1, counts), np.ones((1, 45)), 0.1
    )
    assert net_benefit(Y_TRUE, SCORE >= 0.1, counts[None], 0.1) == pytest.approx(repeated)


def test_the_section_names_the_best_at_five_thresholds(curve):
    html = format_decision_section(curve)
    assert html.count("<tr>") == 6
    assert html.count("<td>model</td>") == 5
    everybody = [row | {"model": -1.0} for row in curve]
    best = format_decision_section(everybody)
    # At the prevalence of 20 %, both are worth nothing.
    assert (best.count("<td>treat all</td>"), best.count("<td>treat none</td>")) == (3, 2)
    assert "It is not known which classes" in format_decision_section([])


def test_the_plot_tells_its_lines_apart_without_color(curve):
    (axes,) = plot_decision_curve([row | {"interval": None} for row in curve]).axes
    assert len({line.get_linestyle() for line in axes.lines}) == 3
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["model, with 95 % interval", "treat all", "treat none"]
    assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]
