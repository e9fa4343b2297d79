"""Selective prediction: the risk-coverage curve and its area."""

import numpy as np
import pytest

from metrics.curves import plot_risk_coverage
from metrics.selective import (
    COVERAGES,
    format_selective_section,
    risk_coverage_area,
    selective_metrics,
)

NAMES = ("mel", "nv")


def area(errors, confidence, weights=None) -> float:
    weights = np.ones((1, len(errors))) if weights is None else weights
    return risk_coverage_area(np.array(errors, bool), np.array(confidence), weights)[0]


def test_the_area_is_the_mean_risk_over_all_coverages():
    # Risks of the first 1, 2, 3 and 4: 0, 1/2, 1/3, 2/4.
    expected = (0 + 1 / 2 + 1 / 3 + 1 / 2) / 4
    assert area([0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6]) == pytest.approx(expected)
    # In any order of the images.
    assert area([1, 0, 1, 0], [0.6, 0.9, 0.8, 0.7]) == pytest.approx(expected)


def test_images_of_equal_confidence_are_accepted_together():
    # 0 for the first, 2/3 for each of the other two.
    assert area([0, 1, 1], [0.9, 0.5, 0.5]) == pytest.approx((0 + 2 / 3 + 2 / 3) / 3)
    # Without any order, the risk is the error rate.
    assert area([0, 1, 1, 0, 0], [0.5] * 5) == pytest.approx(0.4)


def test_a_better_order_has_a_smaller_area_and_weights_are_counts():
    rng = np.random.default_rng(0)
    errors, confidence = rng.random(50) < 0.3, rng.integers(0, 12, 50) / 12
    assert area(errors, -errors.astype(float)) < errors.mean() < area(errors, errors.astype(float))
    counts = rng.integers(0, 4, 50)
    repeated = area(np.repeat(errors, counts), np.repeat(confidence, counts))
    assert area(errors, confidence, counts[None]) == pytest.approx(repeated)
    assert np.isnan(area([0, 1], [0.5, 0.6], np.zeros((1, 2))))


@pytest.fixture(scope="module")
def selective() -> dict:
    # 20 images, the confidence falls from 0.99 to 0.8; the last four and the sixth are wrong.
    confidence = 0.99 - np.arange(20) / 100
    y_true = np.array([0, 1] * 10)
    wrong = np.isin(np.arange(20), [5, 16, 17, 18, 19])
    y_prob = np.eye(2)[np.where(wrong, 1 - y_true, y_true)] * (2 * confidence - 1)[:, None]
    y_prob += (1 - confidence)[:, None]
    return selective_metrics(y_true, y_prob, NAMES, melanoma="mel", groups=range(20))


def test_the_curve_has_the_risk_and_what_becomes_of_melanomas(selective):
    curve = {round(row["coverage"], 2): row for row in selective["curve"]}
    assert list(curve) == [pytest.approx(coverage) for coverage in COVERAGES]
    assert curve[1.0]["risk"] == 5 / 20
    assert curve[1.0]["confidence"] == pytest.approx(0.8)
    assert (curve[1.0]["melanomas_missed"], curve[1.0]["melanomas_rejected"]) == (0.2, 0)
    # Of the first 16 images, the sixth is wrong, a nevus; two of ten melanomas are rejected.
    assert curve[0.8]["risk"] == 1 / 16
    assert (curve[0.8]["melanomas_missed"], curve[0.8]["melanomas_rejected"]) == (0, 0.2)
    assert curve[0.05]["risk"] == 0
    low, high = selective["interval"]
    assert low < selective["area"] < high


def test_at_a_coverage_all_images_of_the_lowest_confidence_are_accepted():
    y_prob = np.tile([0.75, 0.25], (8, 1))
    metrics = selective_metrics(np.zeros(8, int), y_prob, NAMES, melanoma=None, groups=range(8))
    assert {row["coverage"] for row in metrics["curve"]} == {1.0}
    assert "melanomas_missed" not in metrics["curve"][0]
    assert "elanoma" not in format_selective_section(metrics)


def test_the_section_shows_five_coverages(selective):
    html = format_selective_section(selective)
    assert html.count("<tr>") == 6
    assert "<td>80.0 %</td><td>0.840</td><td>0.062</td><td>0.000</td><td>0.200</td>" in html
    assert f"2017): {selective['area']:.3f} (" in html


def test_the_plot_tells_its_lines_apart_without_color(selective):
    (axes,) = plot_risk_coverage(selective, title="a$b$c").axes
    assert len(axes.lines) == len({line.get_linestyle() for line in axes.lines}) == 3
    assert len({line.get_marker() for line in axes.lines}) == 3
    assert axes.lines[0].get_ydata()[0] == 0.25
