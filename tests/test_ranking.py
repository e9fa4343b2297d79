import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from metrics.ranking import roc_auc, sensitivity_at_specificity

# Two positives, three negatives; one positive ties with a negative.
Y_TRUE = np.array([True, False, True, False, False])
SCORE = np.array([0.9, 0.7, 0.5, 0.5, 0.1])
ONES = np.ones((1, 5))


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 12, 60) / 11
    y_true = rng.random(60) < 0.2 + 0.5 * score
    return y_true, score, rng.integers(0, 4, (5, 60)).astype(np.int16)


def test_roc_auc_counts_pairs_and_half_of_the_ties():
    # Of the six pairs the first positive wins three, the second one and a half.
    assert roc_auc(Y_TRUE, SCORE, ONES) == pytest.approx([4.5 / 6])


def test_sensitivity_is_that_of_the_best_threshold_with_the_required_specificity():
    for specificity, expected in ((1.0, 0.5), (0.7, 0.5), (2 / 3, 0.5), (1 / 3, 1.0), (0.0, 1.0)):
        assert sensitivity_at_specificity(Y_TRUE, SCORE, ONES, specificity) == [expected]


@pytest.mark.parametrize("seed", range(5))
def test_metrics_agree_with_scikit_learn_for_every_weighting(seed):
    y_true, score, weights = random_case(seed)
    areas = roc_auc(y_true, score, weights)
    sensitivities = sensitivity_at_specificity(y_true, score, weights, 0.8)
    for i, weight in enumerate(weights):
        assert areas[i] == pytest.approx(roc_auc_score(y_true, score, sample_weight=weight))
        false_positive_rate, sensitivity, _ = roc_curve(
            y_true, score, sample_weight=weight, drop_intermediate=False
        )
        expected = sensitivity[false_positive_rate <= 0.2 + 1e-9].max()
        assert sensitivities[i] == pytest.approx(expected)


def test_a_weight_of_two_counts_the_image_twice():
    y_true, score, _ = random_case(9)
    weights = np.ones((1, len(score)))
    weights[0, :10] = 2
    twice = np.r_[np.arange(10), np.arange(len(score))]
    ones = np.ones((1, len(twice)))
    repeated = roc_auc(y_true[twice], score[twice], ones)
    assert roc_auc(y_true, score, weights) == pytest.approx(repeated)
    repeated = sensitivity_at_specificity(y_true[twice], score[twice], ones, 0.8)
    assert sensitivity_at_specificity(y_true, score, weights, 0.8) == pytest.approx(repeated)


def test_undefined_metrics_are_nan():
    for y_true in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(roc_auc(y_true, SCORE, ONES)).all()
        assert np.isnan(sensitivity_at_specificity(y_true, SCORE, ONES, 0.9)).all()
