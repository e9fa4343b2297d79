"""Two models on the same images."""

import numpy as np
import pytest
from scipy.stats import binomtest, chi2

from metrics.classification import classification_metrics
from metrics.comparison import (
    OtherPredictions,
    comparison_metrics,
    format_comparison_lines,
    mcnemar_test,
    read_predictions,
)
from metrics.prediction_table import PredictionWriter, prediction_table
from support import InputError

NAMES = ("mel", "nv")
UNKNOWN = {"uncertain": None, "out_of_distribution": None}


def random_pair(count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, count)
    this, other = (
        rng.dirichlet((1, 1), count) * 0.7 + 0.3 * np.eye(2)[y_true] * good for good in (1, 0.5)
    )
    return y_true, *(p / p.sum(axis=1, keepdims=True) for p in (this, other))


def as_other(image_ids, y_prob, name="other.csv") -> OtherPredictions:
    return OtherPredictions(name, {image: i for i, image in enumerate(image_ids)}, y_prob)


def compare(y_true, this, image_ids, other, **options) -> dict:
    options = {"melanoma": "mel", "groups": image_ids} | options
    return comparison_metrics(y_true, this, NAMES, image_ids=image_ids, other=other, **options)


def write(path, image_ids, y_prob, class_names=NAMES, labels=None):
    table = prediction_table(image_ids, y_prob, class_names, **UNKNOWN)
    if labels is not None:
        table["label"] = labels
    with PredictionWriter(path) as writer:
        writer.write(table)
    return path


def test_the_difference_is_that_of_the_metrics_on_the_images_of_both():
    y_true, this, other = random_pair()
    image_ids = [f"i{i}" for i in range(200)]
    # The other one lacks the first 20, has 5 of its own, and lists them backwards.
    listed = [*image_ids[:19:-1], *"vwxyz"]
    y_prob = np.concatenate([other[:19:-1], np.full((5, 2), 0.5)])
    found = compare(y_true, this, image_ids, as_other(listed, y_prob))
    assert (found["images"], found["only_this"], found["only_other"]) == (180, 20, 5)
    expected = [
        classification_metrics(y_true[20:], p[20:], NAMES, binary_tasks={"melanoma": ("mel",)})
        for p in (this, other)
    ]
    for name, row in found["metrics"].items():
        a, b = (m["melanoma"]["roc_auc"] if "melanoma" in name else m[name] for m in expected)
        assert (row["this"], row["other"]) == pytest.approx((a, b))
        assert row["difference"] == pytest.approx(a - b)
        assert row["interval"][0] < a - b < row["interval"][1]
    assert list(found["metrics"])[-1] == "melanoma_roc_auc"
    assert (
        "melanoma_roc_auc"
        not in compare(y_true, this, image_ids, as_other(image_ids, other), melanoma=None)[
            "metrics"
        ]
    )


def test_a_model_does_not_differ_from_its_own_table(tmp_path):
    rng = np.random.default_rng(0)
    y_true, image_ids = rng.integers(0, 2, 300), [f"i{i}" for i in range(300)]
    # Most of these are zero at six decimals, and only there equal.
    p = 10 ** rng.uniform(-9, 0, 300)
    y_prob = np.stack([p, 1 - p], axis=1)
    labels = dict.fromkeys(image_ids, "mel")
    own = read_predictions(write(tmp_path / "own.csv", image_ids, y_prob), NAMES, labels)
    found = compare(y_true, y_prob, image_ids, own)
    assert {row["difference"] for row in found["metrics"].values()} == {0.0}


def test_the_interval_is_paired():
    y_true, this, _ = random_pair()
    image_ids = [f"i{i}" for i in range(200)]
    same = compare(y_true, this, image_ids, as_other(image_ids, this))
    assert all(row["interval"] == (0, 0) for row in same["metrics"].values())
    assert same["mcnemar"]["p_value"] == 1
    # Models that differ on one image only: the difference is 0 in the resamples without it.
    almost = this.copy()
    wrong = int(np.flatnonzero(this.argmax(axis=1) == y_true)[0])
    almost[wrong] = this[wrong, ::-1]
    row = compare(y_true, this, image_ids, as_other(image_ids, almost))["metrics"]["accuracy"]
    assert row["difference"] == pytest.approx(1 / 200)
    assert row["interval"] == pytest.approx((0, 3 / 200))


def test_lesions_stay_with_their_images_where_the_other_table_lacks_some():
    y_true, this, other = random_pair()
    image_ids, lesions = [f"i{i}" for i in range(200)], (np.arange(200) + 3) // 7
    table = as_other(image_ids[20:], other[20:])
    whole = compare(y_true, this, image_ids, table, groups=lesions)
    alone = compare(y_true[20:], this[20:], image_ids[20:], table, groups=lesions[20:])
    assert whole["metrics"] == alone["metrics"]


def test_lesions_are_resampled_together():
    y_true, this, other = random_pair(40)
    repeated = [np.repeat(values, 5, axis=0) for values in (y_true, this, other)]
    ids, lesions = [f"i{i}" for i in range(200)], np.repeat(np.arange(40), 5)
    by_lesion = compare(*repeated[:2], ids, as_other(ids, repeated[2]), groups=lesions)
    single = compare(y_true, this, ids[:40], as_other(ids[:40], other), groups=np.arange(40))
    for name, row in single["metrics"].items():
        assert by_lesion["metrics"][name]["interval"] == pytest.approx(row["interval"])


def test_the_images_of_a_lesion_count_once_in_the_test():
    # Correct images of this model and of the other: a 3 and 1, b 1 and 1 of two, c 0 and 2, d 1, 0.
    lesions = list("aaabbccd")
    right, wrong = (0.9, 0.1), (0.1, 0.9)
    this = np.array([right if c == "+" else wrong for c in "++++---+"])
    other = np.array([right if c == "+" else wrong for c in "+---+++-"])
    ids = [f"i{i}" for i in range(8)]
    found = compare(np.zeros(8, int), this, ids, as_other(ids, other), groups=lesions)["mcnemar"]
    assert (found["this_better"], found["other_better"]) == (2, 1)
    assert found["p_value"] == 1


def test_repeating_the_images_of_each_lesion_does_not_change_the_test():
    y_true, this, other = random_pair()
    ids = [f"i{i}" for i in range(200)]
    once = compare(y_true, this, ids, as_other(ids, other))
    repeated = [np.repeat(values, 3, axis=0) for values in (y_true, this, other)]
    more = [f"i{i}" for i in range(600)]
    lesions = np.repeat(np.arange(200), 3)
    found = compare(*repeated[:2], more, as_other(more, repeated[2]), groups=lesions)
    assert found["mcnemar"] == once["mcnemar"]


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (12, 2), (2, 12), (12, 12)])
def test_few_lesions_are_tested_exactly(a, b):
    found = mcnemar_test(a, b)
    expected = binomtest(a, a + b).pvalue if a + b else 1.0
    assert found["p_value"] == pytest.approx(expected)
    assert found["method"] == "exact binomial"


@pytest.mark.parametrize(("a", "b"), [(13, 12), (15, 10), (121, 59), (200, 0)])
def test_many_lesions_are_tested_by_chi_squared(a, b):
    found = mcnemar_test(a, b)
    assert found["p_value"] == pytest.approx(chi2.sf((abs(a - b) - 1) ** 2 / (a + b), 1))
    assert found["method"] == "chi-squared with continuity correction"


def test_the_table_of_another_evaluation_is_read_in_the_order_of_this_model(tmp_path):
    image_ids, y_prob = ["NA", "=1+1", "c"], np.array([[0.25, 0.75], [0.5, 0.5], [1, 0]])
    labels = dict(zip(image_ids, ("mel", "nv", "nv"), strict=True))
    path = write(tmp_path / "p.csv", image_ids, y_prob, NAMES[::-1], list(labels.values()))
    other = read_predictions(path, NAMES, labels)
    assert other.y_prob.tolist() == y_prob[:, ::-1].tolist()
    found = compare(np.array([0, 1, 1]), y_prob, image_ids, other)
    assert (found["images"], found["only_this"], found["only_other"]) == (3, 0, 0)


def test_what_cannot_be_compared_is_said_in_one_line(tmp_path):
    y_prob, labels = np.array([[0.25, 0.75]]), {"a": "mel"}
    cases = {
        "expected the classes mel, nv, received mel, bkl": (["a"], y_prob, ("mel", "bkl"), None),
        "expected images of this evaluation, such as a, received 1 others, such as b": (
            *(["b"], y_prob, NAMES, None),
        ),
        "such as mel of a, received nv \\(1 of 1 differ\\)": (["a"], y_prob, NAMES, ["nv"]),
        "each image once, received a twice": (["a", "a"], y_prob[[0, 0]], NAMES, None),
        "probabilities in 0..1": (["a"], y_prob * np.nan, NAMES, None),
    }
    for message, case in cases.items():
        path = write(tmp_path / "p.csv", *case)
        with pytest.raises(InputError, match=message) as error:
            read_predictions(path, NAMES, labels)
        assert "\n" not in str(error.value)
    (tmp_path / "p.csv").write_text("image,dx\na,mel\n")
    with pytest.raises(InputError, match="received the columns image, dx"):
        read_predictions(tmp_path / "p.csv", NAMES, labels)
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match="received no table"):
        read_predictions(tmp_path / "p.csv", NAMES, labels)
    with pytest.raises(InputError, match="received no such file"):
        read_predictions(tmp_path / "none.csv", NAMES, labels)


def test_the_printed_table_names_the_test_and_what_was_not_compared():
    y_true, this, other = random_pair()
    image_ids = [f"i{i}" for i in range(200)]
    found = compare(y_true, this, image_ids, as_other(image_ids[5:], other[5:], "runs/x.csv"))
    lines = format_comparison_lines(found)
    assert lines[0] == "compared with runs/x.csv, 195 images of both (not compared: 5 only of this)"
    assert [line.split()[0] for line in lines[2:-2]] == [
        "accuracy",
        "balanced",
        "macro",
        "melanoma",
    ]
    row = found["metrics"]["accuracy"]
    assert f"{row['this']:.3f}   {row['other']:.3f}      {row['difference']:+.3f}" in lines[2]
    assert lines[-2].startswith("McNemar's test (chi-squared with continuity correction): p")
    test = found["mcnemar"]
    assert lines[-1] == (
        f"(of {test['this_better']} lesions, this model predicts more images correctly, "
        f"of {test['other_better']} the other)"
    )


def test_without_another_model_nothing_is_compared():
    y_true, this, _ = random_pair()
    assert compare(y_true, this, [str(i) for i in range(200)], None) == {}
