import numpy as np

from metrics.calibration import calibration_metrics, class_prevalence
from metrics.classification import classification_metrics, subgroup_metrics
from metrics.confirmation import histology_metrics
from metrics.decision_curve import decision_curve
from metrics.evaluation import Evaluation, evaluation_metrics
from metrics.operating_points import operating_point_metrics
from metrics.prediction_sets import prediction_set_metrics
from metrics.selective import selective_metrics
from metrics.sources import source_metrics

NAMES = ("mel", "nv", "bkl")


def test_the_metrics_of_an_evaluation_are_those_of_its_parts():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    uncalibrated = rng.dirichlet(np.ones(3), 60)
    lesion_ids = [str(i // 2) for i in range(60)]
    subgroups = {"sex": ["male", "female"] * 30}
    sources, histology = ["A"] * 40 + ["B"] * 20, [True, True, False] * 20
    evaluation = Evaluation(
        class_names=NAMES,
        y_true=y_true,
        y_prob=y_prob,
        uncalibrated=uncalibrated,
        temperature=1.5,
        lesion_ids=lesion_ids,
        subgroups=subgroups,
        localization={"images": 3},
        sources=sources,
        trained_on={"A": True, "B": False},
        thresholds={"melanoma": {"sensitivity_0.90": 0.25}},
        sets=y_prob > 0.2,
        set_coverage=0.8,
        histology=histology,
    )
    tasks = {"malignant": ("mel", "bkl"), "melanoma": ("mel",)}
    options = {"malignant": ("mel", "bkl"), "melanoma": "mel", "prevalence": {"melanoma": 0.1}}
    metrics = evaluation_metrics(evaluation, **options)
    expected = classification_metrics(y_true, y_prob, NAMES, binary_tasks=tasks, groups=lesion_ids)
    expected["calibration"] = {
        "temperature": 1.5,
        "before": calibration_metrics(y_true, uncalibrated),
        "after": calibration_metrics(y_true, y_prob),
        "prevalence": class_prevalence(y_true, y_prob, NAMES),
    }
    expected["subgroups"] = subgroup_metrics(
        y_true, y_prob, NAMES, malignant=("mel", "bkl"), columns=subgroups, groups=lesion_ids
    )
    expected["sources"] = source_metrics(
        y_true,
        y_prob,
        NAMES,
        melanoma="mel",
        sources=sources,
        trained_on={"A": True, "B": False},
        groups=lesion_ids,
    )
    points = operating_point_metrics(
        y_true == 0, y_prob[:, 0], {"sensitivity_0.90": 0.25}, groups=lesion_ids, prevalence=0.1
    )
    expected["operating_points"] = {"melanoma": points}
    expected["prediction_sets"] = prediction_set_metrics(
        *(y_true, y_prob > 0.2, NAMES),
        stated_coverage=0.8,
        groups=lesion_ids,
        sources=sources,
    )
    expected["selective_prediction"] = selective_metrics(
        y_true, y_prob, NAMES, melanoma="mel", groups=lesion_ids
    )
    malignant, score = y_true != 1, y_prob[:, [0, 2]].sum(axis=1)
    expected["decision_curve"] = decision_curve(malignant, score, groups=lesion_ids)
    expected["histology"] = histology_metrics(
        *(y_true, y_prob, NAMES), histology=histology, binary_tasks=tasks, groups=lesion_ids
    )
    expected["grouping"] = "lesions"
    expected["artifacts"] = expected["occlusion"] = {}
    expected["comparison"] = expected["folds"] = {}
    expected["pointing_game"] = {"images": 3}
    assert metrics == expected


def test_what_needs_the_malignant_classes_is_left_out_if_they_are_unknown():
    y_true, y_prob = np.array([0, 1, 2, 0]), np.full((4, 3), 1 / 3)
    evaluation = Evaluation(
        class_names=("acne", "wart", "melanoma"),
        y_true=y_true,
        y_prob=y_prob,
        uncalibrated=y_prob,
        temperature=1.0,
        lesion_ids=list("abcd"),
        subgroups={"sex": ["male"] * 4},
    )
    metrics = evaluation_metrics(evaluation)
    assert not [key for key in (*metrics, *metrics["intervals"]) if "mal" in key or "mel" in key]
    row = metrics["subgroups"]["sex"]["male"]
    assert list(row) == ["images", "small", "accuracy", "balanced_accuracy", "intervals"]
    assert list(row["intervals"]) == ["accuracy", "balanced_accuracy"]
    assert metrics["sources"] == {}
    assert metrics["operating_points"] == metrics["prediction_sets"] == {}
    assert metrics["decision_curve"] == []
    assert metrics["histology"] == {}
    # A melanoma is known by its name.
    with_melanoma = evaluation_metrics(evaluation, melanoma="melanoma")
    assert with_melanoma["melanoma"]["roc_auc"] == 0.5
    assert "malignant" not in with_melanoma
