"""Several devices, and float16: what they compute, and what is said where they are missing."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import train
from data.augmentation import AugmentationSettings
from models.backend import precision
from models.bundle import ClassProbabilities, load_model
from training.early_stopping import EarlyStopping
from training.loop import TrainingData, train_model
from training.losses import LogitAdjustedCrossentropy
from training.phases import Phase
from training.run import Run
from training.schedules import OptimizerSettings

pytestmark = pytest.mark.usefixtures("shallow_baseline")

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_two_devices_train_as_one_does_and_resume_after_a_stop():
    run = subprocess.run(
        [sys.executable, "tests/mirrored.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    one, two, resumed = json.loads(run.stdout.splitlines()[-1])
    assert (one["replicas"], two["replicas"]) == (1, 2)
    for other in (two, resumed):
        assert len(other["history"]) == 3
        for mine, theirs in zip(one["history"], other["history"], strict=True):
            assert theirs.pop("phase") == mine["phase"]
            metrics = {key: value for key, value in mine.items() if key != "phase"}
            assert theirs == pytest.approx(metrics, rel=1e-4, abs=1e-6)
        assert np.allclose(other["saved"], one["saved"], atol=1e-4)
    # Something was learned, and the metric is not at its limit.
    assert one["history"][-1]["loss"] < one["history"][0]["loss"]
    assert 0 < one["history"][0]["balanced_accuracy"] < 1


def test_mixed_precision_without_a_gpu_ends_with_one_line(
    sample_dir, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    argv = ["--data_dir", str(sample_dir), "--output_dir", str(tmp_path), "--mixed_precision"]
    assert train.main([*argv, "--model", "sequential"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_float16_trains_as_float32_does_and_resumes_after_a_stop(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype(np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": 8}
    data = TrainingData(
        train_images={8: images},
        train_targets=targets,
        train_weights=np.ones(16, np.float32),
        validation_images={8: images},
        validation_targets=targets,
        batch_size=8,
    )

    def fit(name: str, *, mixed: bool = True) -> list[dict]:
        keras.utils.set_random_seed(0)
        (tmp_path / name).mkdir(exist_ok=True)
        with precision(mixed):
            body = [keras.layers.Reshape((-1,)), keras.layers.Dense(32, activation="relu")]
        scaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
        head = [keras.layers.Dense(2, dtype="float32"), ClassProbabilities(description)]
        assert body[1].compute_dtype == ("float16" if mixed else "float32")
        return train_model(
            keras.Sequential([keras.Input((8, 8, 3)), scaling, *body, *head]),
            data,
            phases=[Phase("one", 3, 1e-2), Phase("two", 3, 1e-2)],
            loss=LogitAdjustedCrossentropy(np.zeros(2)),
            augmentation=AugmentationSettings(),
            optimizer=OptimizerSettings(average_epochs=1.0, mixed_precision=mixed),
            early_stopping=EarlyStopping("loss", 10),
            run=Run(tmp_path / name),
        ).history

    whole, exact = fit("whole"), fit("exact", mixed=False)
    assert whole != exact
    for mine, theirs in zip(whole, exact, strict=True):
        for metric in ("loss", "val_loss"):
            assert mine[metric] == pytest.approx(theirs[metric], abs=0.02)

    class StoppedError(Exception):
        pass

    batches = TrainingData.validation_batches

    def stop_in_the_second_phase(self, image_size, *, devices):
        if (tmp_path / "stopped" / "resume.npz").exists():
            raise StoppedError
        return batches(self, image_size, devices=devices)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingData, "validation_batches", stop_in_the_second_phase)
        with pytest.raises(StoppedError):
            fit("stopped")
    assert fit("stopped") == whole
    saved = load_model(tmp_path / "stopped" / "model.keras")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
