import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as skl
from scipy.stats import binomtest

from metrics.classification import (
    classification_metrics,
    subgroup_metrics,
)
from metrics.errors import confusion_counts, most_confident_errors
from metrics.intervals import wilson_interval

NAMES = ("a", "b", "c")
Y_TRUE = np.array([0, 0, 0, 1, 1])
Y_PROB = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]]
)


def random_case(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, count)
    logits = rng.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[y_true]
    return y_true, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_metrics_of_a_hand_made_case():
    metrics = classification_metrics(Y_TRUE, Y_PROB, NAMES)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    a, b, c = (metrics["per_class"][name] for name in NAMES)
    assert (a["precision"], a["support"]) == (1.0, 3)
    assert a["recall"] == pytest.approx(2 / 3)
    assert (b["precision"], b["recall"], b["f1"]) == (0.5, 0.5, 0.5)
    # Of the six pairs of an a and a b, the probability of a ranks five correctly.
    assert a["roc_auc"] == pytest.approx(5 / 6)
    # Precision 1 at recall 1/3 and 2/3, precision 3/4 at recall 1.
    assert a["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert metrics["macro_f1"] == pytest.approx((0.8 + 0.5) / 2)
    assert (c["precision"], c["support"]) == (0.0, 0)
    assert {c[key] for key in ("recall", "f1", "roc_auc", "average_precision")} == {None}
    assert (metrics["majority_class"], metrics["majority_fraction"]) == ("a", 0.6)
    assert metrics["images"] == 5


def test_the_recall_of_each_class_has_an_interval_by_lesion():
    # Four lesions of the first class, of 1 to 4 images; the largest is predicted wrongly.
    groups = [*"abbcccdddd", *"ef"]
    y_true = np.array([0] * 10 + [1] * 2)
    y_prob = np.eye(3)[[0] * 6 + [1] * 4 + [1] * 2]
    metrics = classification_metrics(y_true, y_prob, NAMES, groups=groups)
    assert "intervals" not in classification_metrics(y_true, y_prob, NAMES)["per_class"]["a"]
    a, b, c = (metrics["per_class"][name] for name in NAMES)
    assert a["recall"] == 0.6
    low, high = a["intervals"]["recall"]
    # A third of the resamples are without the largest lesion.
    assert low < 0.5
    assert high == 1
    # No resample has a recall other than 1: Wilson's interval of 2 of 2 lesions.
    assert b["intervals"]["recall"] == pytest.approx((2 / (2 + 1.959964**2), 1.0))
    assert c["intervals"]["recall"] is None


def test_the_interval_of_a_recall_is_that_of_the_accuracy_on_images_of_one_class():
    y_true, y_prob = np.zeros(300, int), random_case()[1]
    metrics = classification_metrics(y_true, y_prob, NAMES, groups=np.arange(300) // 3)
    assert metrics["per_class"]["a"]["intervals"]["recall"] == metrics["intervals"]["accuracy"]


def test_a_perfect_classifier_scores_one_everywhere():
    metrics = classification_metrics(np.arange(3), np.eye(3), NAMES)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"):
        assert metrics[name] == 1.0


def test_a_single_class_has_no_roc_auc_and_a_class_never_predicted_has_no_precision():
    metrics = classification_metrics(np.zeros(4, int), np.tile([0.9, 0.1, 0.0], (4, 1)), NAMES)
    assert metrics["macro_roc_auc"] is None
    assert metrics["per_class"]["b"]["precision"] is None
    assert metrics["balanced_accuracy"] == 1.0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        classification_metrics(np.array([], int), np.zeros((0, 3)), NAMES)
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        classification_metrics(Y_TRUE, Y_PROB[:, :2], NAMES)


def test_metrics_agree_with_scikit_learn():
    y_true, y_prob = random_case()
    y_pred = y_prob.argmax(axis=1)
    metrics = classification_metrics(y_true, y_prob, NAMES, binary_tasks={"task": ("a", "c")})
    assert metrics["accuracy"] == pytest.approx(skl.accuracy_score(y_true, y_pred))
    assert metrics["balanced_accuracy"] == pytest.approx(
        skl.balanced_accuracy_score(y_true, y_pred)
    )
    assert metrics["macro_f1"] == pytest.approx(skl.f1_score(y_true, y_pred, average="macro"))
    assert metrics["macro_roc_auc"] == pytest.approx(
        skl.roc_auc_score(y_true, y_prob, multi_class="ovr")
    )
    positive, score = y_true != 1, y_prob[:, 0] + y_prob[:, 2]
    assert metrics["task"]["roc_auc"] == pytest.approx(skl.roc_auc_score(positive, score))
    rows = skl.classification_report(y_true, y_pred, target_names=NAMES, output_dict=True)
    for i, name in enumerate(NAMES):
        row = metrics["per_class"][name]
        assert row["precision"] == pytest.approx(rows[name]["precision"])
        assert row["f1"] == pytest.approx(rows[name]["f1-score"])
        expected = skl.average_precision_score(y_true == i, y_prob[:, i])
        assert row["average_precision"] == pytest.approx(expected)


def test_of_predictions_without_an_error_only_fractions_of_images_have_an_interval():
    y_true = np.array([0, 0, 1, 1, 2, 2])
    metrics = classification_metrics(
        y_true, np.eye(3)[y_true], NAMES, binary_tasks={"x": ("a",)}, groups=range(6)
    )
    intervals = metrics["intervals"]
    assert intervals["accuracy"] == wilson_interval(6, 6)
    assert intervals["x_sensitivity_at_0.90"] == wilson_interval(2, 2)
    names = ("balanced_accuracy", "macro_f1", "macro_roc_auc", "x_roc_auc")
    assert [metrics[name] for name in names[:3]] == [1.0] * 3
    assert [intervals[name] for name in names] == [None] * 4


def test_intervals_contain_the_metrics_of_the_same_name():
    y_true, y_prob = random_case()
    metrics = classification_metrics(
        y_true, y_prob, NAMES, binary_tasks={"task": ("a", "c")}, groups=np.arange(300) // 2
    )
    values = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    values["task_roc_auc"] = metrics["task"]["roc_auc"]
    values["task_sensitivity_at_0.90"] = metrics["task"]["sensitivity_at_specificity"]["0.90"]
    for name, value in values.items():
        low, high = metrics["intervals"][name]
        assert low < value < high


def test_a_subgroup_is_measured_as_if_it_were_alone():
    y_true, y_prob = random_case()
    site = np.where(np.arange(300) < 280, "back", "foot")
    rows = subgroup_metrics(
        y_true,
        y_prob,
        NAMES,
        malignant=("a", "c"),
        columns={"site": site},
        groups=np.arange(300),
    )["site"]
    alone = classification_metrics(y_true[:280], y_prob[:280], NAMES, groups=np.arange(280))
    for name in ("accuracy", "balanced_accuracy"):
        assert rows["back"][name] == pytest.approx(alone[name])
        assert rows["back"]["intervals"][name] == pytest.approx(alone["intervals"][name])
    assert [rows[name]["images"] for name in ("back", "foot")] == [280, 20]
    assert [rows[name]["small"] for name in ("back", "foot")] == [False, True]
    malignant = y_true[:280] != 1
    detected = (y_prob[:280].argmax(axis=1) != 1)[malignant].mean()
    assert rows["back"]["malignant_sensitivity"] == pytest.approx(detected)


def test_a_subgroup_without_malignant_images_has_no_sensitivity():
    rows = subgroup_metrics(
        np.array([1, 1]),
        np.array([[0.1, 0.8, 0.1]] * 2),
        NAMES,
        malignant=("a",),
        columns={"sex": ["female", "female"]},
        groups=["l1", "l2"],
    )["sex"]["female"]
    assert rows["malignant_sensitivity"] is None
    assert rows["intervals"]["malignant_sensitivity"] is None
    assert rows["accuracy"] == 1.0


def test_confusion_counts_have_the_true_class_in_rows():
    assert confusion_counts(Y_TRUE, Y_PROB, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_the_most_confident_errors_are_wrong_sorted_and_of_different_lesions():
    y_true, y_prob = random_case()
    lesions = np.char.add("lesion ", (np.arange(300) // 3).astype(str))
    frame = pd.DataFrame({"lesion": lesions, "confidence": y_prob.max(axis=1)})
    wrong = frame[y_prob.argmax(axis=1) != y_true].sort_values("confidence", ascending=False)
    expected = wrong.drop_duplicates("lesion").index
    assert most_confident_errors(y_true, y_prob, lesions).tolist() == expected[:12].tolist()
    assert len(most_confident_errors(y_true, y_prob, lesions, limit=999)) == len(expected) > 12


def test_a_perfect_classifier_has_no_errors():
    assert most_confident_errors(np.arange(3), np.eye(3), list("xyz")).tolist() == []


def test_a_value_of_one_in_a_subgroup_has_wilsons_interval_of_the_lesions_that_count():
    labels = [0] * 2 + [1] * 8
    rows = subgroup_metrics(
        np.array(labels),
        np.eye(3)[labels],
        NAMES,
        malignant=("a",),
        columns={"sex": ["female"] * 10},
        groups=[f"l{i}" for i in range(10)],
    )["sex"]["female"]
    intervals = rows["intervals"]
    assert intervals["malignant_sensitivity"] == pytest.approx(wilson(2))
    assert intervals["accuracy"] == pytest.approx(wilson(10))
    assert (rows["balanced_accuracy"], intervals["balanced_accuracy"]) == (1.0, None)


def wilson(count: int) -> tuple[float, float]:
    return tuple(binomtest(count, count).proportion_ci(0.95, method="wilson"))


def test_a_resample_without_a_class_does_not_count_for_balanced_accuracy():
    # One lesion of the first class, always wrong: with it, no resample is above one half.
    labels = np.array([0] + [1] * 30)
    y_prob = np.eye(3)[[1] * 31]
    metrics = classification_metrics(labels, y_prob, NAMES, groups=range(31))
    assert metrics["balanced_accuracy"] == 0.5
    assert metrics["intervals"]["balanced_accuracy"] == (0.5, 0.5)
