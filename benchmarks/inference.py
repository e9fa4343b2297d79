"""How close prediction from files comes to the bare model on arrays in memory.

The bare model is the fastest of `model(x)`, `model.predict` and `model.predict_on_batch` with the
same batch size; prediction from files decodes as well, and takes the features and their score that
the warnings of `predict.py` need. Then the most memory that `predict.py` holds
on a folder, and on one of ten times as many images.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import config
from benchmarks.machine import alternate, parse_arguments, peak_memory, seconds
from config import PredictConfig
from models.backend import start_tensorflow


def folder_memory(paths: list[str], count: int) -> float:
    """Return the most memory that `predict.py` holds on a folder of so many images, GB."""
    with tempfile.TemporaryDirectory() as folder:
        for place in range(count):
            source = Path(paths[place % len(paths)]).resolve()
            Path(folder, f"{place}{source.suffix}").symlink_to(source)
        # A process that starts another hands on its own peak, so that the measuring one is small.
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
            "stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = ["predict.py", "--model_path", config.PRETRAINED_MODEL, "--image", folder]
        found = subprocess.run(
            [sys.executable, "-c", code, sys.executable, *command],
            check=True,
            capture_output=True,
            text=True,
        )
    return int(found.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e9


def main() -> None:
    """Measure latency, throughput and memory."""
    args = parse_arguments(
        __doc__,
        images=(1000, "used for the throughput"),
        folder_images=(10_000, "in the large folder"),
        rounds=(5, "of each way"),
    )
    start_tensorflow()

    import numpy as np

    from data.ham10000 import read_metadata
    from data.images import load_image
    from data.pipeline import decode_images, iterate_batches
    from models.bundle import get_description, load_model
    from models.inference import FeatureReader
    from models.novelty import read_detector

    model = load_model(config.PRETRAINED_MODEL)
    read = FeatureReader(model)
    detector = read_detector(get_description(model).detector, features=read.count)
    side, size = get_description(model).image_size, PredictConfig(image=("x",)).batch_size
    every = read_metadata(args.data_dir)["path"].dropna().tolist()
    paths = every[: args.images // size * size]
    images, _ = decode_images(paths, image_size=side)

    def call(images: np.ndarray, size: int) -> None:
        for start in range(0, len(images), size):
            np.asarray(model(images[start : start + size], training=False))

    def predict(images: np.ndarray, size: int) -> None:
        model.predict(images, batch_size=size, verbose=0)

    def predict_on_batch(images: np.ndarray, size: int) -> None:
        for start in range(0, len(images), size):
            model.predict_on_batch(images[start : start + size])

    def from_files(paths: list[str], size: int) -> None:
        if len(paths) == 1:
            detector.score(read(load_image(paths[0], side)[None])[1])
            return
        for _, batch, _ in iterate_batches(paths, image_size=side, batch_size=size):
            detector.score(read(batch)[1])

    print(f"the model that comes with the project, {side} px\n")
    print(f"{'':<22}  from files  model(x)  model.predict  predict_on_batch  ratio")
    ratios = []
    for count, rounds in ((1, 10 * args.rounds), (len(paths), args.rounds)):
        runs = {
            "from files": lambda count=count: from_files(paths[:count], size),
            "model(x)": lambda count=count: call(images[:count], size),
            "model.predict": lambda count=count: predict(images[:count], size),
            "predict_on_batch": lambda count=count: predict_on_batch(images[:count], size),
        }
        for run in runs.values():
            run()
        timed = {name: lambda run=run: seconds(run) for name, run in runs.items()}
        took = alternate(rounds, **timed)
        files, *bare = took.values()
        ratios.append(min(bare) / files)
        # Milliseconds for one image, images a second for many.
        title = "one image, ms" if count == 1 else f"{count} images, images/s"
        cells = [1000 * value if count == 1 else count / value for value in took.values()]
        row = "{:>12.0f}{:>10.0f}{:>15.0f}{:>18.0f}".format(*cells)
        print(f"{title:<22}{row}{ratios[-1]:>7.2f}", flush=True)
    print(f"\nbatches of {size}; most memory of this process {peak_memory():.2f} GB")
    for count in (args.folder_images // 10, args.folder_images):
        memory = folder_memory(every, count)
        print(
            f"predict.py, a folder of {count:>6,} images: most memory {memory:.2f} GB", flush=True
        )
    print(f"ratio: {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
