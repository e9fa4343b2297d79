"""More than one device, and float16: what is promised, and what is said where it cannot be."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import train
from data import DataError
from data.pipeline import even_batch_size, make_dataset
from models import ModelError
from models.backend import check_mixed_precision, choose_strategy, precision
from models.bundle import ClassProbabilities, load_model
from models.training import Phase, train_model

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_two_devices_learn_what_one_does_and_go_on_after_a_stop():
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
            figures = {key: value for key, value in mine.items() if key != "phase"}
            assert theirs == pytest.approx(figures, rel=1e-4, abs=1e-6)
        assert np.allclose(other["kept"], one["kept"], atol=1e-4)
    # Something was learned, and the figure is not at its limit.
    assert one["history"][-1]["loss"] < one["history"][0]["loss"]
    assert 0 < one["history"][0]["balanced_accuracy"] < 1


def test_every_batch_serves_all_devices():
    assert even_batch_size(1504, batch_size=32, devices=1) == 32
    assert even_batch_size(20, batch_size=32, devices=1) == 20
    assert even_batch_size(1504, batch_size=32, devices=2) == 32
    # 17 = 16 + 1 would leave one without; 14 + 3 does not.
    assert even_batch_size(17, batch_size=16, devices=2) == 14
    for count in range(32, 400):
        size = even_batch_size(count, batch_size=32, devices=4)
        assert size % 4 == 0
        for images in (size, count % size or size):
            share = -(-images // 4)
            assert images - 3 * share >= 1
    with pytest.raises(DataError, match="3 validation images cannot be shared evenly by 4 devices"):
        even_batch_size(3, batch_size=32, devices=4)


class _Gpu:
    name = "GPU:0"


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [
        ("none", 0, r"CPU \(\d+ threads\)$"),
        ("none", 1, "GPU$"),
        ("none", 2, r"GPU \(1 of 2; --strategy mirrored takes all\)$"),
        ("mirrored", 0, r"CPU .*found no GPU: the same training as without it\)$"),
        ("mirrored", 1, r"GPU .*found one GPU: the same training as without it\)$"),
    ],
)
def test_what_a_strategy_comes_to_is_said(name, gpus, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [_Gpu()] * gpus)
    strategy, device = choose_strategy(name, batch_size=32)
    assert strategy.num_replicas_in_sync == 1
    assert re.match(expected, device)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [_Gpu()] * 3)
    with pytest.raises(ModelError, match=r"multiple of the 3 GPUs .* received 32"):
        choose_strategy("mirrored", batch_size=32)


def test_mixed_precision_is_for_gpus_that_gain_by_it(monkeypatch):
    gpus = [_Gpu()]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    details = {"device_name": "Old", "compute_capability": (6, 1)}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    with pytest.raises(ModelError, match=r"7\.0 or higher, received Old with 6\.1"):
        check_mixed_precision()
    details["compute_capability"] = (8, 0)
    check_mixed_precision()
    gpus.clear()
    with pytest.raises(ModelError, match="needs a GPU, found none"):
        check_mixed_precision()


def test_mixed_precision_without_a_gpu_ends_with_one_line(
    sample_dir, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    argv = ["--data_dir", str(sample_dir), "--output_dir", str(tmp_path), "--mixed_precision"]
    assert train.main([*argv, "--model", "sequential"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_float16_learns_what_float32_does_and_goes_on_after_a_stop(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3)).astype(np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": 8}

    def fit(name: str, *, mixed: bool = True, resume: bool = False, validations: int = 99):
        keras.utils.set_random_seed(0)
        left = iter(range(validations))
        (tmp_path / name).mkdir(exist_ok=True)
        with precision(mixed):
            body = [keras.layers.Flatten(), keras.layers.Dense(32, activation="relu")]
        scaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
        head = [keras.layers.Dense(2, dtype="float32"), ClassProbabilities(description)]
        assert body[1].compute_dtype == ("float16" if mixed else "float32")

        def validation(side: int):
            next(left)  # StopIteration takes the place of a stop by hand
            return make_dataset(images, targets, batch_size=8)

        return train_model(
            keras.Sequential([keras.Input((8, 8, 3)), scaling, *body, *head]),
            lambda side, first: make_dataset(
                images,
                targets,
                batch_size=8,
                augmentation=lambda batch, seed, step: tf.cast(batch, tf.float32),
                first_epoch=first,
            ),
            validation,
            phases=[Phase("one", 1, 1e-2), Phase("two", 1, 1e-2)],
            steps_per_epoch=6,
            run_dir=tmp_path / name,
            average_steps=2.0,
            monitor="loss",
            mixed_precision=mixed,
            resume=resume,
        ).history

    whole, exact = fit("whole"), fit("exact", mixed=False)
    assert whole != exact
    for mine, theirs in zip(whole, exact, strict=True):
        for figure in ("loss", "val_loss"):
            assert mine[figure] == pytest.approx(theirs[figure], abs=0.02)
    with pytest.raises(StopIteration):
        fit("stopped", validations=1)
    assert fit("stopped", resume=True) == whole
    kept = load_model(tmp_path / "stopped" / "model.keras")
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
