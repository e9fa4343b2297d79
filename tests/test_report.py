import json

import numpy as np
import pandas as pd
import pytest

from metrics.classification import classification_metrics
from metrics.evaluation import Evaluation, evaluation_metrics
from metrics.plots import plot_confusion_matrix
from metrics.prediction_table import PredictionWriter, prediction_table
from metrics.report import format_metrics, write_report
from metrics.sources import source_metrics
from support import InputError

NAMES = ("a", "b", "c")
UNKNOWN = {"uncertain": None, "out_of_distribution": None}
Y_TRUE = np.array([0, 0, 0, 1, 1])
Y_PROB = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]]
)


def test_the_prediction_table_has_the_columns_of_the_contract():
    warnings = {"uncertain": np.array([False, True]), "out_of_distribution": None}
    table = prediction_table(["x", "y"], Y_PROB[:2], NAMES, **warnings)
    assert list(table)[:3] == ["image", "predicted", "confidence"]
    assert list(table)[3:5] == ["uncertain", "out_of_distribution"]
    assert list(table)[5:] == ["prediction_set", "prob_a", "prob_b", "prob_c"]
    assert table["prediction_set"].tolist() == [None, None]
    assert table["uncertain"].tolist() == [False, True]
    assert table["predicted"].tolist() == ["a", "a"]
    assert table["confidence"].tolist() == [0.8, 0.6]


def test_a_prediction_set_is_the_names_of_its_classes_the_most_probable_one_first(tmp_path):
    sets = np.array([[True, False, False], [True, True, False], [True, True, True]])
    table = prediction_table(list("xyz"), Y_PROB[:3], NAMES, **UNKNOWN, prediction_set=sets)
    assert table["prediction_set"].tolist() == ["a", "a b", "b a c"]
    for suffix, expected in (
        ("csv", "y,a,0.600000,,,a b,0.6"),
        ("json", '"prediction_set": "a b"'),
    ):
        with PredictionWriter(tmp_path / f"out.{suffix}") as writer:
            writer.write(table)
        assert expected in (tmp_path / f"out.{suffix}").read_text()


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_predictions_written_in_batches_read_back_as_one_table(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    with PredictionWriter(path) as writer:
        for batch in (slice(0, 2), slice(2, 2), slice(2, 5)):
            writer.write(prediction_table(list("vwxyz")[batch], Y_PROB[batch], NAMES, **UNKNOWN))
        assert not path.exists()
    table = pd.read_csv(path) if suffix == "csv" else pd.DataFrame(json.loads(path.read_text()))
    assert table["image"].tolist() == list("vwxyz")
    assert np.allclose(table[[f"prob_{name}" for name in NAMES]], Y_PROB)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_prediction_file_keeps_the_warnings_of_each_image(tmp_path):
    warnings = {"uncertain": np.array([True, False]), "out_of_distribution": np.zeros(2, bool)}
    for suffix in ("csv", "json"):
        for name, columns in (("some", warnings), ("none", UNKNOWN)):
            with PredictionWriter(tmp_path / f"{name}.{suffix}") as writer:
                writer.write(prediction_table(["x", "y"], Y_PROB[:2], NAMES, **columns))
    lines = (tmp_path / "some.csv").read_text().splitlines()
    assert lines[1].startswith("x,a,0.800000,True,False,")
    assert lines[2].startswith("y,a,0.600000,False,False,")
    # Where a model cannot tell, there is no False.
    assert (tmp_path / "none.csv").read_text().splitlines()[1].startswith("x,a,0.800000,,,")
    some, none = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("some", "none"))
    assert [row["uncertain"] for row in some] == [True, False]
    assert [row["out_of_distribution"] for row in some + none] == [False, False, None, None]


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_file_name_that_is_not_valid_text_is_escaped(tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    with PredictionWriter(path) as writer:
        writer.write(prediction_table(["a\udcff.jpg"], Y_PROB[:1], NAMES, **UNKNOWN))
    assert "a\\udcff.jpg" in path.read_text(encoding="utf-8")


def test_a_name_that_begins_like_a_formula_is_text_in_a_spreadsheet(tmp_path):
    path, names = tmp_path / "out.csv", ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\uff1d1"]
    with PredictionWriter(path) as writer:
        table = prediction_table(
            names, np.tile(Y_PROB[0], (len(names), 1)), ("=x", "b", "c"), **UNKNOWN
        )
        writer.write(table.assign(**{"=1": -1.0}))
    table = pd.read_csv(path)
    expected = ["'=1+1", "'+1", "'-1", "'@a", "\\u0009=1", "\\u000d=1", "'\uff1d1"]
    assert table["image"].tolist() == expected
    assert set(table["predicted"]) == {"'=x"}
    # Numbers stay numbers.
    assert set(table["'=1"]) == {-1.0}


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_control_characters_in_a_name_are_escaped(tmp_path, suffix):
    path, name = tmp_path / f"out.{suffix}", "a\x1b[31m\x7f\x9b\u202eb.jpg"
    with PredictionWriter(path) as writer:
        writer.write(prediction_table([name], Y_PROB[:1], NAMES, **UNKNOWN))
    text = path.read_text(encoding="utf-8")
    assert "a\\u001b[31m\\u007f\\u009b\\u202eb.jpg" in text
    assert text.replace("\n", "").isprintable()
    if suffix == "json":
        assert json.loads(text)[0]["image"] == name


def test_an_interrupted_prediction_file_leaves_the_previous_one(tmp_path):
    def write_and_fail():
        with PredictionWriter(path) as writer:
            writer.write(prediction_table(["x"], Y_PROB[:1], NAMES, **UNKNOWN))
            raise ZeroDivisionError

    path = tmp_path / "out.csv"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_predictions_are_an_empty_list(tmp_path):
    with PredictionWriter(tmp_path / "out.json"):
        pass
    assert json.loads((tmp_path / "out.json").read_text()) == []


def test_a_prediction_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.csv or \.json, received '.*out\.xlsx'"):
        PredictionWriter(tmp_path / "out.xlsx")


def test_a_report_holds_plain_numbers_a_table_a_plot_and_a_page(tmp_path):
    metrics = classification_metrics(Y_TRUE, Y_PROB, NAMES)
    write_report(
        tmp_path / "new",
        metrics=metrics,
        predictions=prediction_table(list("vwxyz"), Y_PROB, NAMES, **UNKNOWN),
        figures={"confusion_matrix": plot_confusion_matrix(np.eye(3, dtype=int), NAMES)},
        page="<!doctype html>",
    )
    written = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert written == metrics
    assert isinstance(written["accuracy"], float)
    assert (tmp_path / "new" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "report.html").read_text() == "<!doctype html>"
    assert len(pd.read_csv(tmp_path / "new" / "predictions.csv")) == 5
    assert len(list((tmp_path / "new").iterdir())) == 4


def measure(names=NAMES) -> dict:
    evaluation = Evaluation(
        class_names=names,
        y_true=Y_TRUE,
        y_prob=Y_PROB,
        uncalibrated=Y_PROB,
        temperature=1.0,
        lesion_ids=list("vwxyz"),
        subgroups={},
    )
    return evaluation_metrics(evaluation)


def test_the_printed_table_names_every_class_and_shows_undefined_metrics_as_a_dash():
    text = format_metrics(measure())
    lines = text.splitlines()
    assert lines[1].split() == ["a", "1.000", "0.667", "0.800", "0.833", "3"]
    assert lines[3].split() == ["c", "0.000", "-", "-", "-", "0"]
    assert "balanced accuracy        0.583" in text
    assert "majority class a       0.600" in text
    assert "(95 % CI: bootstrap over lesions)" in text


def test_the_printed_table_shows_the_confidence_intervals():
    metrics = measure()
    metrics["intervals"] |= {"accuracy": (0.25, 0.875), "macro_f1": None}
    lines = format_metrics(metrics).splitlines()
    assert lines[5].split() == ["95", "%", "CI"]
    assert lines[6].split() == ["accuracy", "0.600", "0.250", "to", "0.875"]
    assert lines[9].split() == ["macro", "F1", "0.650", "no", "interval"]


def test_sources_are_printed_only_if_they_were_measured():
    metrics = measure()
    assert "source" not in format_metrics(metrics)
    sources = source_metrics(
        Y_TRUE,
        Y_PROB,
        NAMES,
        melanoma=None,
        sources=["A"] * 3 + ["B"] * 2,
        trained_on={"A": True, "B": False},
        groups=range(5),
    )
    lines = format_metrics(metrics | {"sources": sources}).splitlines()
    assert lines[-4].split()[:3] == ["source", "trained", "on"]
    assert lines[-3].split() == ["A", "yes", "3", "0.667", "0.667", "0.433"]
    assert lines[-2].split() == ["B", "no", "2", "0.500", "0.500", "0.550"]
    assert "balanced: mean recall of the classes that occur" in lines[-1]


def test_the_printed_table_keeps_its_columns_with_long_names():
    names = ("nevus " * 30 + "1", "nevus " * 30 + "2", "c")
    metrics = measure(names)
    metrics["intervals"] |= {"accuracy": (0.25, 0.875)}
    lines = format_metrics(metrics).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[1].split("  ")[0] != lines[2].split("  ")[0]
    assert max(map(len, lines)) < 80
    accuracy, majority = (line for line in lines if line.lstrip().startswith(("acc", "maj")))
    assert accuracy.index("0.600") == majority.index("0.600")
