"""The table of the ISIC 2018 challenge: its columns, and the score that the challenge gives it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from config import PredictConfig
from data import DataError
from data.ham10000 import CLASS_NAMES
from metrics.classification import classification_metrics
from models.description import Description
from training.submission import Submission

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
MODEL = Description("tiny", CLASS_NAMES, 32)


def draw_predictions(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and float32 probabilities; six decimals make the two highest of some equal."""
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 7, count)
    y_prob = rng.dirichlet(np.ones(7), count) + 0.3 * np.eye(7)[y_true]
    y_prob = (y_prob / y_prob.sum(axis=1, keepdims=True)).astype(np.float32)
    best = y_prob.argmax(axis=1)[::5]
    others = (best + 1) % 7
    y_prob[::5] = 0.02
    y_prob[np.arange(0, count, 5), best] = np.nextafter(np.float32(0.45), np.float32(1))
    y_prob[np.arange(0, count, 5), others] = 0.45
    return y_true, y_prob


def read_as_challenge(path: Path) -> pd.DataFrame:
    """Read a table with the checks of `isic_challenge_scoring.load_csv`, version 5.8.0."""
    table = pd.read_csv(path, index_col=False)
    assert ",".join(table) == HEADER
    assert not table["image"].str.contains(r"\.jpg$", case=False).any()
    assert table["image"].is_unique
    table = table.set_index("image")
    assert (table.dtypes == np.float64).all()
    assert table.notna().all(axis=None)
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    return table


def score_as_challenge(table: pd.DataFrame, truth: dict[str, str]) -> float:
    """Return the mean recall; an image with two highest probabilities has no predicted class."""
    is_highest = table.eq(table.max(axis=1), axis=0)
    predicted = is_highest.idxmax(axis=1).where(is_highest.sum(axis=1) == 1, "undecided")
    correct = predicted == pd.Series(truth)
    return correct.groupby(pd.Series(truth)).mean().mean()


def test_the_challenge_gives_a_submission_our_balanced_accuracy(tmp_path):
    y_true, y_prob = draw_predictions()
    images = [f"ISIC_{i:07}" for i in range(len(y_true))]
    path = Submission(MODEL, images).write(tmp_path, images, y_prob)
    assert path.name == "submission.csv"
    truth = {name: CLASS_NAMES[i].upper() for name, i in zip(images, y_true, strict=True)}
    metrics = classification_metrics(y_true, y_prob, CLASS_NAMES)
    score = score_as_challenge(read_as_challenge(path), truth)
    assert score == pytest.approx(metrics["balanced_accuracy"], abs=1e-12)
    # With the six decimals of other tables, the challenge would give less.
    assert score_as_challenge(read_as_challenge(path).round(6), truth) < score - 0.05


def test_the_official_package_gives_the_same_score(tmp_path):
    """It needs Python 3.13: pip install isic-challenge-scoring."""
    official = pytest.importorskip("isic_challenge_scoring.classification")
    y_true, y_prob = draw_predictions()
    images = [f"ISIC_{i:07}" for i in range(len(y_true))]
    path = Submission(MODEL, images).write(tmp_path, images, y_prob)
    truth = pd.DataFrame(np.eye(7)[y_true], columns=[name.upper() for name in CLASS_NAMES])
    truth[HEADER.split(",")[1:]].assign(image=images).to_csv(tmp_path / "truth.csv", index=False)
    score = official.ClassificationScore.from_file(
        tmp_path / "truth.csv", path, official.ClassificationMetric.BALANCED_ACCURACY
    )
    expected = classification_metrics(y_true, y_prob, CLASS_NAMES)["balanced_accuracy"]
    assert score.overall == pytest.approx(expected, abs=1e-12)


def test_columns_follow_the_challenge_whatever_the_classes_are_called():
    names = ("Nevus", "melanoma", "VASC", "df", "bkl", "Basal cell carcinoma", "akiec")
    y_prob = np.array([[0.5, 0.2, 0.1, 0.05, 0.05, 0.06, 0.04]], np.float32)
    table = Submission(Description("tiny", names, 32), ["x"]).table(["a/b.c.JPG"], y_prob)
    assert ",".join(table) == HEADER
    assert table["image"].tolist() == ["b.c"]
    expected = [0.2, 0.5, 0.06, 0.04, 0.05, 0.05, 0.1]
    assert table.iloc[0, 1:].tolist() == pytest.approx(expected)


def test_a_probability_a_little_above_one_is_one():
    y_prob = np.zeros((1, 7), np.float32)
    y_prob[0, 4] = np.nextafter(np.float32(1), np.float32(2))
    assert Submission(MODEL, ["x"]).table(["x"], y_prob)["MEL"].tolist() == [1.0]


@pytest.mark.parametrize("names", [("benign", "malignant"), CLASS_NAMES[:6], (*CLASS_NAMES, "scc")])
def test_a_model_of_other_classes_is_refused(names):
    with pytest.raises(DataError, match=r"MEL, NV, .* VASC of the challenge, received one of \w+,"):
        Submission(Description("tiny", names, 32), ["x"])


def test_two_images_of_one_name_are_refused():
    with pytest.raises(DataError, match=r"received 2 images 'x' \(1 such name in total\)"):
        Submission(MODEL, ["a/x.jpg", "y.jpg", "b/x.png"])


@pytest.mark.parametrize("output", [None, "table.json"])
def test_the_challenge_takes_csv_only(output):
    with pytest.raises(ValueError, match=r"--columns isic2018 needs --output FILE\.csv, received"):
        PredictConfig(image=("x",), columns="isic2018", output=output)
