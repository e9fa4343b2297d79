"""What `python predict.py --image X` spends its time on, and how much faster it is than by Keras.

Each phase is timed in new processes, with the files in the page cache and the model converted, as
the first command leaves it. The ratio is the time of the whole command with `--engine keras` over
that of the same command without, measured in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from benchmarks.machine import alternate, read_images, run_benchmark, run_python, seconds
from config import BUNDLED_MODEL
from data.images import check_image

PHASES = """
import sys, time; clock = [("", time.perf_counter())]
def done(name): clock.append((name, time.perf_counter()))
import predict, data.images; done("import the standard library, Pillow, NumPy")
import data.batches, metrics.prediction, training.prediction
from models.ensemble import load_predictor; done("import the modules of this project")
classifier = load_predictor([sys.argv[1]], engine="auto"); done("load the model")
image = data.images.load_image(sys.argv[2], classifier.description.image_size); done("decode")
classifier(image[None]); done("first call")
classifier(image[None]); done("second call")
import json; print(json.dumps({b[0]: b[1] - a[1] for a, b in zip(clock, clock[1:])}))
"""


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
    print(run_python(*command, "--verbose").splitlines()[1], flush=True)
    phases = []
    for _ in range(options.rounds):
        output = run_python("-c", PHASES, BUNDLED_MODEL, image)
        phases.append(json.loads(output.splitlines()[-1]))
    for name in phases[0]:
        print(f"{name:<44}{statistics.median(run[name] for run in phases):>8.2f} s")
    whole = alternate(
        options.rounds,
        auto=lambda: seconds(lambda: run_python(*command)),
        keras=lambda: seconds(lambda: run_python(*command, "--engine", "keras")),
    )
    print(f"{'the whole command':<44}{whole['auto']:>8.2f} s")
    print(f"{'the whole command, --engine keras':<44}{whole['keras']:>8.2f} s")
    print(f"ratio: {whole['keras'] / whole['auto']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
