import os
import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from models.backend import start_tensorflow
print(start_tensorflow())
loaded = {"sklearn", "pandas", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
import matplotlib.pyplot, pandas, sklearn.metrics
"""


def test_tensorflow_starts_without_packages_that_nothing_needs_and_leaves_them_importable():
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(("CPU (", "GPU ("))


REPEATED = """
import numpy as np
from models.backend import start_tensorflow
start_tensorflow(repeatable=True)
import keras, tensorflow as tf
rng = np.random.default_rng(0)
x, w = (tf.constant(rng.normal(size=(32, 64, 64, 96)), "float32") for _ in range(2))
norm = keras.layers.BatchNormalization()
norm.build(x.shape)
@tf.function
def gradient():
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, training=True)
        loss = tf.reduce_sum(y * w)
    return y, tape.gradient(loss, x)
found = {gradient()[1].numpy().tobytes() for _ in range(40)}
assert len(found) == 1, len(found)
"""


def test_gradients_repeat_to_the_last_digit_on_a_cpu():
    run = subprocess.run(
        [sys.executable, "-c", REPEATED],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
