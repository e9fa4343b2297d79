"""What the three scripts have in common, from end to end, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
import predict
import train
from models.bundle import load_model, save_model, update_description

pytestmark = pytest.mark.usefixtures("shallow_baseline", "models_loaded_once")

ROOT = Path(__file__).parent.parent


def test_a_model_file_without_thresholds_works_and_names_what_it_lacks(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    missing = ("confidence_threshold", "threshold_accuracy", "detector", "photograph_threshold")
    update_description(model, **dict.fromkeys(missing))
    save_model(model, tmp_path / "model.keras")
    image = str(next(sample_dir.rglob("*.jpg")))
    assert predict.main(["--model_path", str(tmp_path / "model.keras"), "--image", image]) == 0
    out, err = capsys.readouterr()
    assert out.count("warning: ") == 1  # of the synthetic images
    assert "cannot warn about low confidence or images that do not look like" in err


@pytest.mark.slow
def test_test_time_augmentation_changes_both_scripts_alike(run_dir, sample_dir, tmp_path):
    model = str(run_dir / "model.keras")
    argv = ["--model_path", model, "--split", "all", "--output_dir", str(tmp_path)]
    tables = {}
    for flags in ([], ["--tta"]):
        assert evaluate.main([*argv, *flags]) == 0
        tables[len(flags)] = pd.read_csv(tmp_path / "predictions.csv").set_index("image")
    output = tmp_path / "tta.csv"
    argv = ["--image", str(sample_dir), "--model_path", model, "--tta", "--output", str(output)]
    assert predict.main(argv) == 0
    predicted = pd.read_csv(output)
    predicted.index = predicted["image"].map(lambda path: Path(path).stem)
    columns = [name for name in predicted if name.startswith("prob_")]
    once, eight = (tables[flags].loc[predicted.index, columns] for flags in (0, 1))
    assert not once.equals(eight)
    assert np.allclose(predicted[columns], eight, atol=2e-6)


def test_an_output_folder_that_cannot_be_written_is_reported_before_prediction(
    run_dir, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    monkeypatch.setattr("training.evaluation.predict", None)
    argv = ["--model_path", str(run_dir / "model.keras"), "--output_dir", str(tmp_path / "file")]
    assert evaluate.main(argv) == 2
    message = f"--output_dir: expected a writable folder, received {tmp_path}/file (it is a file)"
    assert capsys.readouterr().err == f"evaluate.py: error: {message}; choose another\n"


def test_out_of_memory_names_the_flag_to_reduce(run_dir, sample_dir, monkeypatch, capsys):
    def without_memory(*_, **__):
        raise MemoryError

    model = ["--model_path", str(run_dir / "model.keras")]
    monkeypatch.setattr("models.classifier.Classifier.__call__", without_memory)
    assert evaluate.main(model) == 2
    assert predict.main([*model, "--image", str(next(sample_dir.rglob("*.jpg")))]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{name}.py: error: out of memory; reduce --batch_size" for name in ("evaluate", "predict")
    ]


@pytest.mark.slow
def test_what_a_model_does_not_know_of_its_classes_is_left_out_everywhere(
    run_dir, sample_dir, tmp_path, capsys
):
    model = load_model(run_dir / "model.keras")
    path, out = str(tmp_path / "model.keras"), tmp_path / "out"
    argv = ["--model_path", path, "--data_dir", str(sample_dir), "--output_dir", str(out)]
    pages = {}
    for malignant in ((), ("mel",)):
        update_description(model, malignant=malignant, class_titles={"nv": "mole"})
        save_model(model, path)
        assert evaluate.main(argv) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert ("malignant" in metrics, "melanoma" in metrics) == (bool(malignant), True)
        pages[malignant] = (out / "report.html").read_text()
        assert "<td>mole (nv)</td>" in pages[malignant]
    assert "It is not known which classes of this model are malignant." in pages[()]
    # The same task is not shown twice.
    assert "Malignant classes: melanoma." in pages["mel",]
    for page in pages.values():
        assert "Melanoma vs. all others" in page
        assert "Malignant vs. benign" not in page
    update_description(model, malignant=())
    save_model(model, path)
    image = str(sorted(sample_dir.glob("*/*.jpg"))[0])
    capsys.readouterr()
    assert predict.main(["--model_path", path, "--image", image, "--top_k", "99"]) == 0
    assert predict.main(["--model_path", path, "--image", str(sample_dir)]) == 0
    shown = capsys.readouterr().out
    assert "mole (nv)" in shown
    assert "malignant" not in shown.lower()


def test_both_scripts_write_the_same_submission(run_dir, evaluations, sample_dir, tmp_path):
    output, folder = tmp_path / "table.csv", evaluations["all"]
    assert "predictions.csv, plots, submission.csv" in (folder / "output.txt").read_text()
    argv = ["--model_path", str(run_dir / "model.keras"), "--columns", "isic2018"]
    assert predict.main([*argv, "--image", str(sample_dir), "--output", str(output)]) == 0
    one, other = (pd.read_csv(p).set_index("image") for p in (output, folder / "submission.csv"))
    assert list(one) == ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert np.allclose(one, other.loc[one.index], atol=1e-5)
    predictions = pd.read_csv(folder / "predictions.csv").set_index("image")
    assert np.allclose(other["BKL"], predictions["prob_bkl"].loc[other.index], atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif("HAM10000_DIR" not in os.environ, reason="HAM10000_DIR is not set")
def test_real_data_from_metadata_to_metrics(tmp_path):
    argv = ["--model", "sequential", "--data_dir", os.environ["HAM10000_DIR"]]
    argv += ["--image_size", "32", "--epochs", "2", "--output_dir", str(tmp_path)]
    assert train.main(argv) == 0
    (run,) = tmp_path.iterdir()
    model = str(run / "model.keras")
    evaluations = {}
    for split in ("train", "val", "test"):
        assert evaluate.main(["--model_path", model, "--split", split]) == 0
        evaluations[split] = pd.read_csv(run / f"evaluation-{split}" / "predictions.csv")
    assert sum(len(table) for table in evaluations.values()) == len(pd.read_csv(run / "split.csv"))
    lesions = [set(table["lesion_id"]) for table in evaluations.values()]
    assert len(set.union(*lesions)) == sum(map(len, lesions))
    # Better than chance, and than always predicting one class.
    metrics = json.loads((run / "evaluation-test" / "metrics.json").read_text())
    assert metrics["macro_roc_auc"] > 0.6


@pytest.mark.parametrize(
    ("script", "argv", "message"),
    [
        (train, ["--data_dir", "nowhere"], "found no folder 'nowhere'"),
        (
            evaluate,
            ["--model_path", "nothing.keras"],
            "nothing.keras: model file not found; check the path",
        ),
        (
            predict,
            ["--image", "x.jpg", "--model_path", "no.keras"],
            "no.keras: model file not found; check the path",
        ),
        (predict, ["--image", "."], "found none"),
    ],
)
def test_missing_input_is_reported_in_one_line(
    tmp_path, monkeypatch, capsys, script, argv, message
):
    monkeypatch.chdir(tmp_path)
    assert script.main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["train", "evaluate", "predict"])
@pytest.mark.parametrize("flags", [["--help"], ["--no_such_flag"]])
def test_help_and_wrong_flags_do_not_wait_for_tensorflow(name, flags):
    code = f"""
import sys
import types
import {name}
try:
    {name}.main({flags!r})
except SystemExit as stop:
    code = stop.code
heavy = {{"tensorflow", "keras", "numpy", "pandas", "sklearn", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (0 if flags == ["--help"] else 2), done.stderr
    assert done.stderr.count("\n") == (0 if flags == ["--help"] else 1)
