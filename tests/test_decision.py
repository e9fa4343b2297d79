import numpy as np
import pytest

from metrics.decision import choose_point
from support import InputError

NAMES = ("bcc", "mel", "nv")
POINTS = {
    "malignant": {"sensitivity_0.90": 0.25, "specificity_0.95": 0.5},
    "melanoma": {"sensitivity_0.90": 0.1},
}
TASKS = {"malignant": ("bcc", "mel"), "melanoma": ("mel",)}


def test_a_score_at_the_threshold_is_called_positive_in_the_sentence_and_in_the_table():
    point = choose_point("malignant=specificity_0.95", POINTS, TASKS)
    y_prob = np.array([[0.25, 0.25, 0.5], [0.25, 0.125, 0.625]], np.float32)
    ((name, called),) = point.columns(y_prob, NAMES).items()
    assert (name, called.tolist()) == ("malignant_at_specificity_0.95", [True, False])
    decisions = [point.decide(dict(zip(NAMES, row.tolist(), strict=True))) for row in y_prob]
    assert decisions == [
        (
            "called malignant",
            "At 95 % specificity on validation images: called malignant, since 50.0 % reaches the "
            "threshold of 50.0 %",
        ),
        (
            "not called malignant",
            "At 95 % specificity on validation images: not called malignant, since 37.5 % is below "
            "the threshold of 50.0 %",
        ),
    ]


def test_the_score_of_melanoma_is_that_of_its_class_alone():
    point = choose_point("melanoma=sensitivity_0.90", POINTS, TASKS)
    assert point.decide({"bcc": 0.9, "mel": 0.05, "nv": 0.05})[0] == "not called melanoma"
    assert point.columns(np.array([[0.0, 0.2, 0.8]]), NAMES)["melanoma_at_sensitivity_0.90"].all()


@pytest.mark.parametrize("text", ["malignant", "malignant=", "mel=sensitivity_0.90", "=", ""])
def test_an_unknown_point_is_refused_with_those_of_the_model(text):
    with pytest.raises(InputError) as error:
        choose_point(text, POINTS, TASKS)
    assert str(error.value) == (
        "expected one of malignant=sensitivity_0.90, malignant=specificity_0.95, "
        f"melanoma=sensitivity_0.90, received {text!r}"
    )


def test_points_of_a_task_that_the_classes_lack_do_not_count():
    melanoma = {"melanoma": TASKS["melanoma"]}
    with pytest.raises(InputError, match=r"one of melanoma=sensitivity_0.90, received 'malig"):
        choose_point("malignant=sensitivity_0.90", POINTS, melanoma)
    with pytest.raises(InputError, match="model has no operating points"):
        choose_point("malignant=sensitivity_0.90", POINTS, {})


def test_a_model_without_points_is_refused():
    with pytest.raises(InputError, match="model has no operating points: it is an"):
        choose_point("malignant=sensitivity_0.90", {}, TASKS)
