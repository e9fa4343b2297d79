"""Folds, ensembles and teachers on the command line."""

import json
from pathlib import Path

import keras
import pandas as pd
import pytest

import evaluate
import predict
import train
from data.fingerprints import pack_hashes
from data.ham10000 import CLASS_NAMES, MALIGNANT
from models.bundle import save_model, update_description
from models.description_checks import peek_description
from models.factory import build_model
from training.dataset import read_labeled_images
from training.settings import build_train_config

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")


@pytest.fixture(scope="module")
def folds(sample_dir, tmp_path_factory) -> list[Path]:
    """Random models that say that they are the two folds of one split."""
    root, paths = tmp_path_factory.mktemp("folds"), []
    for index in range(2):
        given = {"model": "sequential", "data_dir": str(sample_dir), "folds": 2, "fold": index}
        frame = read_labeled_images(build_train_config(given)).frame
        keras.utils.set_random_seed(index)
        model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
        known = {}
        for part, split in (("train", "train"), ("validation", "val")):
            rows = frame[frame["split"] == split]
            known[f"{part}_image_ids"] = tuple(rows["image_id"])
            known[f"{part}_lesion_ids"] = tuple(rows["lesion_id"])
            known[f"{part}_pixel_hashes"] = pack_hashes(rows["pixel_hash"])
        update_description(model, malignant=MALIGNANT, data_name="sample", temperature=2.0, **known)
        paths.append(root / f"fold-{index}.keras")
        save_model(model, paths[-1])
    return paths


def run_evaluation(folder: Path, *argv: object) -> tuple[dict, pd.DataFrame]:
    assert evaluate.main([*map(str, argv), "--output_dir", str(folder)]) == 0
    table = pd.read_csv(folder / "predictions.csv")
    return json.loads((folder / "metrics.json").read_text()), table.set_index("image")


def test_the_folds_of_one_split_are_evaluated_out_of_fold(folds, sample_dir, tmp_path, capsys):
    data = ["--data_dir", sample_dir]
    metrics, table = run_evaluation(tmp_path / "all", "--model_path", *folds, *data)
    out, err = capsys.readouterr()
    assert "split val, out of fold: 56 images" in out
    assert "Out of fold: 2 models, each predicts the images that validated it." in err
    assert [fold["images"] for fold in metrics["folds"]["folds"]] == [28, 28]
    assert {"accuracy", "balanced_accuracy"} <= metrics["intervals"].keys()
    for index, path in enumerate(folds):
        argv = ["--model_path", path, *data, "--split", "val"]
        alone, own = run_evaluation(tmp_path / str(index), *argv)
        assert metrics["folds"]["folds"][index]["accuracy"] == alone["accuracy"]
        shared = table.loc[own.index]
        pd.testing.assert_frame_equal(shared[own.columns], own)


def test_an_ensemble_is_tested_on_what_none_of_its_models_saw(folds, sample_dir, tmp_path, capsys):
    argv = ["--model_path", *folds, "--data_dir", sample_dir, "--split", "test"]
    metrics, table = run_evaluation(tmp_path / "test", *argv)
    assert metrics["images"] == 14
    assert (table["disagreement"] > 0).all()
    known = {i for path in folds for i in peek_description(path).train_image_ids}
    assert not known & {*table.index}
    assert metrics["folds"] == {}
    assert "ensemble of 2 x sequential" in (tmp_path / "test" / "report.html").read_text()


def test_an_ensemble_predicts_a_table_with_its_disagreement(folds, sample_dir, tmp_path, capsys):
    output = tmp_path / "predictions.json"
    image = next(sample_dir.rglob("*.jpg"))
    argv = ["--image", image, "--model_path", *folds, "--output", output]
    argv += ["--explain", tmp_path / "maps"]
    assert predict.main([*map(str, argv)]) == 0
    assert "trained on 56 images of sample" in capsys.readouterr().out
    (row,) = json.loads(output.read_text())
    assert row["disagreement"] >= 0
    assert len([*(tmp_path / "maps").iterdir()]) == 1


def test_a_model_given_twice_is_one_line(folds, sample_dir, capsys):
    argv = ["--image", str(sample_dir), "--model_path", str(folds[0]), str(folds[0])]
    assert predict.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("fold-0.keras twice; give it once")


@pytest.mark.slow
def test_a_student_learns_from_teachers_of_the_same_split_only(folds, sample_dir, tmp_path, capsys):
    argv = ["--model", "sequential", "--image_size", "32", "--epochs", "1"]
    argv += ["--data_dir", str(sample_dir), "--folds", "2", "--output_dir", str(tmp_path / "runs")]
    teacher = ["--teacher", str(folds[0])]
    assert train.main([*argv, *teacher, "--fold", "1"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("train.py: error: --teacher: expected a teacher that was not trained")
    assert train.main([*argv, *teacher, "--fold", "0"]) == 0
    assert "Teachers: sequential; their predictions add about" in capsys.readouterr().out
    (run,) = (tmp_path / "runs").iterdir()
    description = peek_description(run / "model.keras")
    assert {*description.train_image_ids} == {*peek_description(folds[0]).train_image_ids}
