"""Where the time of `python predict.py --image X` goes, and what of it cannot be helped.

Each phase is timed in new processes, the files being in the page cache. The ratio is the time of
importing TensorFlow and Keras, loading the model and asking it once, over that of the whole
command.
"""

import json
import statistics
import subprocess
import sys

import config
from benchmarks.machine import parse_arguments, seconds

PHASES = """
import time; clock = [("", time.perf_counter())]
def done(name): clock.append((name, time.perf_counter()))
import predict, data.images; done("import the standard library, Pillow, NumPy")
from models.backend import start_tensorflow; start_tensorflow()
done("import TensorFlow and Keras")
import data.pipeline, data.ham10000, metrics.report
from models.bundle import load_model, get_description
from models.inference import FeatureReader; done("import the project's modules")
model = load_model(sys.argv[1]); read = FeatureReader(model); done("load the model")
image = data.images.load_image(sys.argv[2], get_description(model).image_size); done("decode")
read(image[None]); done("first call")
read(image[None]); done("second call")
import json; print(json.dumps({b[0]: b[1] - a[1] for a, b in zip(clock, clock[1:])}))
"""
NEEDED = ("import TensorFlow and Keras", "load the model", "first call")


def main() -> None:
    """Time the phases and the command."""
    args = parse_arguments(__doc__, rounds=(5, "processes for each figure"))
    from data.ham10000 import read_metadata

    image = read_metadata(args.data_dir)["path"].dropna().iloc[0]
    phases, whole = [], []
    for _ in range(args.rounds):
        command = [sys.executable, "-c", "import sys" + PHASES, config.PRETRAINED_MODEL, image]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        phases.append(json.loads(found.stdout.splitlines()[-1]))
        command = [sys.executable, "predict.py", "--model_path", config.PRETRAINED_MODEL]
        command += ["--image", image]
        whole.append(
            seconds(
                lambda command=command: subprocess.run(command, check=True, capture_output=True)
            )
        )
    medians = {name: statistics.median(run[name] for run in phases) for name in phases[0]}
    total = statistics.median(whole)
    for name, value in medians.items():
        print(f"{name:<44}{value:>8.2f} s")
    print(f"{'the whole command':<44}{total:>8.2f} s")
    print(f"ratio: {sum(medians[name] for name in NEEDED) / total:.2f}")


if __name__ == "__main__":
    main()
