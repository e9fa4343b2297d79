"""What `python predict.py --image X` spends its time on, and how much of that is unavoidable.

Each phase is timed in new processes, with the files in the page cache. The ratio is the time that
importing TensorFlow and Keras, loading the model and its first call take, over that of the whole
command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from benchmarks.machine import read_images, run_benchmark, run_python, seconds
from config import BUNDLED_MODEL
from data.images import check_image

PHASES = """
import sys, time; clock = [("", time.perf_counter())]
def done(name): clock.append((name, time.perf_counter()))
import predict, data.images; done("import the standard library, Pillow, NumPy")
from models.backend import start_tensorflow; start_tensorflow()
done("import TensorFlow and Keras")
import data.pipeline, data.ham10000, metrics.prediction_table
from models.ensemble import load_predictor; done("import the modules of this project")
classifier = load_predictor([sys.argv[1]]); done("load the model")
image = data.images.load_image(sys.argv[2], classifier.description.image_size); done("decode")
classifier(image[None]); done("first call")
classifier(image[None]); done("second call")
import json; print(json.dumps({b[0]: b[1] - a[1] for a, b in zip(clock, clock[1:])}))
"""
NEEDED = ("import TensorFlow and Keras", "load the model", "first call")


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "startup", __doc__, measure, argv, rounds=(5, "processes for each measurement")
    )


def measure(options: argparse.Namespace) -> None:
    """Time the phases and the whole command, and print the table."""
    image = read_images(options.data_dir)["path"].iloc[0]
    check_image(image)
    command = ["predict.py", "--model_path", BUNDLED_MODEL, "--image", image]
    phases, whole = [], []
    for _ in range(options.rounds):
        output = run_python("-c", PHASES, BUNDLED_MODEL, image)
        phases.append(json.loads(output.splitlines()[-1]))
        whole.append(seconds(lambda: run_python(*command)))
    medians = {name: statistics.median(run[name] for run in phases) for name in phases[0]}
    total = statistics.median(whole)
    for name, value in medians.items():
        print(f"{name:<44}{value:>8.2f} s")
    print(f"{'the whole command':<44}{total:>8.2f} s")
    print(f"ratio: {sum(medians[name] for name in NEEDED) / total:.2f}")


if __name__ == "__main__":
    sys.exit(main())
