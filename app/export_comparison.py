"""Comparing a `.keras` file with what it was exported to."""

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from metrics.classification import classification_metrics
from models.classifier import Classifier
from models.predictions import Predictions, join_predictions

# Calls that are not timed: the first ones trace and compile.
_WARM_UP_CALLS = 3
# Of `Predictions`, and what to call them.
_WARNINGS = {"uncertain": "low confidence", "out_of_distribution": "out of distribution"}


def predict(classifier: Classifier, images: np.ndarray, batch_size: int) -> Predictions:
    """Return the predictions for all images, at least one."""
    starts = range(0, len(images), batch_size)
    return join_predictions([classifier(images[start : start + batch_size]) for start in starts])


def format_agreement(
    y_true: np.ndarray,
    keras_prob: np.ndarray,
    exported_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    kind: str,
) -> str:
    """Format the metrics of both files, and how far their predictions agree.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        keras_prob: float `[images, classes]`, probabilities of the `.keras` file.
        exported_prob: the same of the exported file.
        class_names: names of the columns.
        kind: of the exported file, such as `.tflite`.
    """
    metrics = [
        classification_metrics(y_true, y_prob, class_names)
        for y_prob in (keras_prob, exported_prob)
    ]
    lines = [f"{f'{len(y_true):,} validation images':<36}{'.keras':>9} {kind:>10}"]
    for name in ("accuracy", "balanced_accuracy"):
        values = "{:9.3f} {:10.3f}".format(*(values[name] for values in metrics))
        lines.append(f"{name.replace('_', ' '):<36}{values}")
    fraction = agreement(keras_prob, exported_prob)
    difference = largest_difference(keras_prob, exported_prob)
    lines.append(f"{'same predicted class':<36}{100 * fraction:18.1f} %")
    lines.append(f"{'largest difference in probability':<36}{difference:20.2g}")
    return "\n".join(lines)


def format_warnings(expected: Predictions, received: Predictions) -> str:
    """Format for how many images both files give the same warnings; empty for a model with none.

    Args:
        expected: of the `.keras` file.
        received: of the exported file, for the same images.
    """
    lines = []
    for name, title in _WARNINGS.items():
        first, second = getattr(expected, name), getattr(received, name)
        if first is not None and second is not None:
            lines.append(f"{f'same warning, {title}':<36}{100 * (first == second).mean():18.1f} %")
    return "\n".join(lines)


def generate_image(image_size: int) -> np.ndarray:
    """Return noise for timing, uint8 `[1, image_size, image_size, 3]`."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (1, image_size, image_size, 3), np.uint8)


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the fraction of images with the same predicted class, given probabilities."""
    return float((first.argmax(axis=1) == second.argmax(axis=1)).mean())


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest absolute difference between probabilities."""
    return float(np.abs(first - second).max())


def format_latencies(
    keras_file: Classifier, exported: Classifier, image: np.ndarray, *, repetitions: int
) -> str:
    """Measure and format how long one image takes, with each way of calling Keras.

    Args:
        keras_file: of the `.keras` file.
        exported: of the exported file.
        image: uint8 `[1, image_size, image_size, 3]`.
        repetitions: timed calls of each.
    """
    model, network = keras_file.network.model, exported.network
    keras_calls = {
        "predict_on_batch": lambda: model.predict_on_batch(image),
        "model(x)": lambda: model(image, training=False),
        "model.predict": lambda: model.predict(image, verbose=0),
    }
    *keras_seconds, exported_seconds = time_in_turn(
        [*keras_calls.values(), lambda: network.predict_on_batch(image)], repetitions=repetitions
    )
    lines = [f"{'latency of one image, ms':<36}{exported_seconds * 1e3:20.1f}"]
    for name, seconds in zip(keras_calls, keras_seconds, strict=True):
        ratio = f"{seconds / exported_seconds:.1f} times"
        lines.append(f"{f'  Keras, {name}':<36}{seconds * 1e3:10.1f}{'':10}{ratio:>16}")
    return "\n".join(lines)


def time_in_turn(calls: Sequence[Callable[[], object]], *, repetitions: int) -> list[float]:
    """Return the median seconds of each call.

    The calls take turns, so that a machine whose speed drifts favors none of them.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(_WARM_UP_CALLS + repetitions):
        for values, call in zip(seconds, calls, strict=True):
            started = time.perf_counter()
            call()
            values.append(time.perf_counter() - started)
    return [statistics.median(values[_WARM_UP_CALLS:]) for values in seconds]
