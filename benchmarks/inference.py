"""How much faster prediction from files is than the bare Keras model on arrays in memory.

The bare model is the fastest of `model(x)`, `model.predict` and `model.predict_on_batch` at the
same batch size; prediction from files also decodes, and computes what the warnings of `predict.py`
need, by the engine that `predict.py` chooses and by Keras. Then the peak memory of `predict.py` on
a folder, and on one with ten times as many images.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import (
    alternate,
    decode,
    peak_memory,
    read_images,
    run_benchmark,
    run_python,
    seconds,
)
from config import BUNDLED_MODEL, PredictConfig

if TYPE_CHECKING:
    import numpy as np

    from models.classifier import Classifier

BATCH_SIZE = PredictConfig.batch_size
_ENGINES = ("auto", "keras")
# A process inherits the peak of the one that starts it, so a small one starts `predict.py`.
MEASURE_CHILD = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "inference",
        __doc__,
        measure,
        argv,
        images=(1000, "images for the throughput, in whole batches"),
        folder_images=(10_000, "images in the larger folder", 10),
        rounds=(5, "measurements of each way"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure latency, throughput and memory, and print the table."""
    every_path = read_images(options.data_dir)["path"].tolist()

    from models.backend import start_tensorflow

    start_tensorflow()

    from models.classifier import load_classifier

    classifiers = {engine: load_classifier(BUNDLED_MODEL, engine=engine) for engine in _ENGINES}
    size = classifiers["keras"].description.image_size
    count = min(options.images, len(every_path))
    paths = every_path[: count // BATCH_SIZE * BATCH_SIZE or count]
    images = decode(paths, size)
    print(f"bundled model, {size} px; from files by {classifiers['auto'].engine}, and by Keras\n")
    print(f"{'':<22}  from files  by Keras  model(x)  model.predict  predict_on_batch  ratio")
    ratios = []
    for count, rounds in ((1, 10 * options.rounds), (len(paths), options.rounds)):
        files, _, *bare = durations = compare(classifiers, paths[:count], images[:count], rounds)
        ratios.append(min(bare) / files)
        # Milliseconds for one image, images per second for many.
        title = "one image, ms" if count == 1 else f"{count} images, images/s"
        cells = [1000 * value if count == 1 else count / value for value in durations]
        row = "{:>12.0f}{:>10.0f}{:>10.0f}{:>15.0f}{:>18.0f}".format(*cells)
        print(f"{title:<22}{row}{ratios[-1]:>7.2f}", flush=True)
    print(f"\nbatches of {BATCH_SIZE}; peak memory of this process {peak_memory():.2f} GB")
    for count in (options.folder_images // 10, options.folder_images):
        memory = folder_memory(every_path, count)
        print(f"predict.py, folder of {count:>6,} images: peak memory {memory:.2f} GB", flush=True)
    print(f"ratio: {ratios[-1]:.2f}")


def compare(
    classifiers: dict[str, Classifier], paths: list[str], images: np.ndarray, rounds: int
) -> list[float]:
    """Return the seconds that each way takes, in the order of the columns.

    Args:
        classifiers: of the bundled model, by engine.
        paths: image files.
        images: the same, decoded.
        rounds: measurements of each way.
    """
    import numpy as np

    from data.batches import iterate_batches
    from data.images import load_image

    model = classifiers["keras"].network.model
    image_size = model.input_shape[1]
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]

    def from_files(engine: str) -> None:
        classifier = classifiers[engine]
        if len(paths) == 1:
            classifier(load_image(paths[0], image_size)[None])
            return
        for _, batch, _ in iterate_batches(paths, image_size=image_size, batch_size=BATCH_SIZE):
            classifier(batch)

    def call() -> None:
        for batch in batches:
            np.asarray(model(batch, training=False))

    def predict() -> None:
        model.predict(images, batch_size=BATCH_SIZE, verbose=0)

    def predict_on_batch() -> None:
        for batch in batches:
            model.predict_on_batch(batch)

    ways = {engine: functools.partial(from_files, engine) for engine in _ENGINES}
    ways |= {way.__name__: way for way in (call, predict, predict_on_batch)}
    for way in ways.values():
        way()
    timed = {name: lambda way=way: seconds(way) for name, way in ways.items()}
    return list(alternate(rounds, **timed).values())


def folder_memory(paths: list[str], count: int) -> float:
    """Return the peak memory of `predict.py` on a folder of so many images, GB."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(count):
            source = Path(paths[i % len(paths)]).resolve()
            Path(folder, f"{i}{source.suffix}").symlink_to(source)
        command = ["predict.py", "--model_path", BUNDLED_MODEL, "--image", folder]
        peak = int(run_python("-c", MEASURE_CHILD, sys.executable, *command))
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


if __name__ == "__main__":
    sys.exit(main())
