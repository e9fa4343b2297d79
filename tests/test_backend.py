"""Starting TensorFlow; devices and precision, and what is said where they are missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from repeating import repeat_gradient

from models import ModelError
from models.backend import check_mixed_precision, choose_strategy, precision, start_tensorflow

ROOT = Path(__file__).parent.parent

START = """
import sys
from models.backend import start_tensorflow
start_tensorflow()
import data.class_names, data.pipeline, metrics.prediction_table, models.ensemble
loaded = {"sklearn", "pandas", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
import matplotlib.pyplot, pandas, sklearn.metrics
"""

FOREIGN = """
import os
from models.backend import start_tensorflow
start_tensorflow()
import keras, tensorflow as tf
config = keras.config
print(config.backend(), config.image_data_format(), config.floatx(), config.dtype_policy().name)
print(config.epsilon(), config.max_epochs(), os.environ["KERAS_HOME"])
layer = keras.layers.Conv2D(2, 3)
layer.build((None, 8, 8, 3))
print(layer.kernel.shape, layer.kernel.dtype, tf.keras.layers.Conv2D is keras.layers.Conv2D)
"""
OF_ANOTHER_PROJECT = """
{"backend": "torch", "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.5,
 "nnx_enabled": true}
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_predicting_imports_no_package_that_only_training_or_plots_need():
    # TensorFlow starts without them, yet they can be imported later.
    done = run(START)
    assert done.returncode == 0, done.stderr


def check_foreign_settings(home: Path) -> None:
    done = run(
        FOREIGN,
        KERAS_HOME=str(home),
        KERAS_BACKEND="jax",
        KERAS_MAX_EPOCHS="one",
        KERAS_NNX_ENABLED="1",
        TF_USE_LEGACY_KERAS="1",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tensorflow channels_last float32 float32"
    assert lines[1] == f"1e-07 None {home}"
    assert lines[2] == "(3, 3, 3, 2) float32 True"


@pytest.mark.slow
def test_the_models_get_their_settings_whatever_keras_json_and_the_environment_say(tmp_path):
    (tmp_path / "keras.json").write_text(OF_ANOTHER_PROJECT)
    check_foreign_settings(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ["{", "[]", "null", '{"floatx": "bfloat16"}', '{"epsilon": "x"}', None]
)
def test_a_keras_json_that_keras_refuses_is_not_read(tmp_path, content):
    if content is None:
        (tmp_path / "keras.json").mkdir()
    else:
        (tmp_path / "keras.json").write_text(content)
    check_foreign_settings(tmp_path)


def test_keras_that_was_imported_and_changed_before_gets_the_settings_as_well(monkeypatch):
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_float16")
    start_tensorflow()
    assert keras.config.image_data_format() == "channels_last"
    assert keras.config.floatx() == keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_gradients_on_a_cpu_repeat_exactly():
    done = run(repeat_gradient(one_at_a_time=True, fused=False), CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr


class _Gpu:
    name = "GPU:0"


@pytest.mark.parametrize(
    ("name", "gpus", "expected"),
    [
        ("none", 0, r"CPU \(\d+ threads\)$"),
        ("none", 1, "GPU$"),
        ("none", 2, r"GPU \(1 of 2; the strategy mirrored uses all\)$"),
        ("mirrored", 0, r"CPU .*the strategy mirrored found no GPU and changes nothing\)$"),
        ("mirrored", 1, r"GPU \(the strategy mirrored found one GPU and changes nothing\)$"),
    ],
)
def test_the_devices_of_a_strategy_are_described(name, gpus, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [_Gpu()] * gpus)
    strategy, device = choose_strategy(name, batch_size=32)
    assert strategy.num_replicas_in_sync == 1
    assert re.match(expected, device)


def test_a_batch_size_that_the_gpus_cannot_share_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [_Gpu()] * 3)
    with pytest.raises(ModelError, match=r"multiple of the 3 GPUs, received 32; try 30"):
        choose_strategy("mirrored", batch_size=32)


def test_mixed_precision_needs_gpus_with_fast_float16(monkeypatch):
    gpus = [_Gpu()]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    details = {"device_name": "Old", "compute_capability": (6, 1)}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    with pytest.raises(ModelError, match=r"7\.0 or higher .*, received Old with 6\.1"):
        check_mixed_precision()
    details["compute_capability"] = (8, 0)
    check_mixed_precision()
    gpus.clear()
    with pytest.raises(ModelError, match=r"expected a GPU .*, found none"):
        check_mixed_precision()


def test_precision_applies_inside_the_block_only():
    before = keras.config.dtype_policy().name
    for mixed, expected in ((True, "mixed_float16"), (False, before)):
        with precision(mixed):
            assert keras.config.dtype_policy().name == expected
        assert keras.config.dtype_policy().name == before
