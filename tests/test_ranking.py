import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from metrics.ranking import average_precision, roc_auc, sensitivity_at_specificity

# Two positives, three negatives; one positive ties with a negative.
Y_TRUE = np.array([True, False, True, False, False])
SCORE = np.array([0.9, 0.7, 0.5, 0.5, 0.1])
ONCE = np.ones((1, 5))


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 12, 60) / 11
    y_true = rng.random(60) < 0.2 + 0.5 * score
    return y_true, score, rng.integers(0, 4, (5, 60)).astype(np.int16)


def test_roc_auc_counts_pairs_and_half_of_the_ties():
    # Of the six pairs the first positive wins three, the second one and a half.
    assert roc_auc(Y_TRUE, SCORE, ONCE) == pytest.approx([4.5 / 6])


def test_sensitivity_is_the_best_of_the_thresholds_that_are_specific_enough():
    for specificity, expected in ((1.0, 0.5), (0.7, 0.5), (2 / 3, 0.5), (1 / 3, 1.0), (0.0, 1.0)):
        assert sensitivity_at_specificity(Y_TRUE, SCORE, ONCE, specificity) == [expected]


def test_average_precision_of_a_hand_made_case():
    # Recall one half at precision 1, then all at the tie with precision 2 of 4.
    assert average_precision(Y_TRUE, SCORE, ONCE) == pytest.approx([0.5 * 1 + 0.5 * 2 / 4])


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn_for_every_weighting(seed):
    y_true, score, weights = random_case(seed)
    areas, precisions = roc_auc(y_true, score, weights), average_precision(y_true, score, weights)
    sensitivities = sensitivity_at_specificity(y_true, score, weights, 0.8)
    for row, weight in enumerate(weights):
        assert areas[row] == pytest.approx(roc_auc_score(y_true, score, sample_weight=weight))
        expected = average_precision_score(y_true, score, sample_weight=weight)
        assert precisions[row] == pytest.approx(expected)
        false, true, _ = roc_curve(y_true, score, sample_weight=weight, drop_intermediate=False)
        assert sensitivities[row] == pytest.approx(true[false <= 0.2 + 1e-9].max())


def test_a_weight_of_two_is_the_image_twice():
    y_true, score, _ = random_case(9)
    weights = np.ones((1, len(score)))
    weights[0, :10] = 2
    twice = np.r_[np.arange(10), np.arange(len(score))]
    once = np.ones((1, len(twice)))
    for figure in (roc_auc, average_precision):
        repeated = figure(y_true[twice], score[twice], once)
        assert figure(y_true, score, weights) == pytest.approx(repeated)


def test_what_is_not_defined_is_nan():
    for y_true in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isnan(roc_auc(y_true, SCORE, ONCE)).all()
        assert np.isnan(sensitivity_at_specificity(y_true, SCORE, ONCE, 0.9)).all()
    assert np.isnan(average_precision(np.zeros(5, bool), SCORE, ONCE)).all()
