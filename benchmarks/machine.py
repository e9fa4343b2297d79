"""What every benchmark says first, and how it measures."""

import argparse
import importlib.metadata
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import config
from config import TrainConfig


def parse_arguments(doc: str, **options: tuple) -> argparse.Namespace:
    """Read `--data_dir` and a benchmark's own options, and say what it runs on.

    Args:
        doc: the benchmark's docstring.
        options: default and help of each option, by name.
    """
    parser = config.ArgumentParser(prog=f"python -m {_module_name()}", description=doc)
    options = {"data_dir": (config.DATA_DIR, "folder with the metadata and the images"), **options}
    for name, (default, text) in options.items():
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"{text} (default: {default})"
        )
    args = parser.parse_args()
    print(describe(), flush=True)
    return args


def _module_name() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def describe() -> str:
    """Return processor, memory and versions, two lines."""
    name = platform.processor() or platform.machine()
    memory = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (OSError, ValueError):
        pass
    versions = [f"{package} {importlib.metadata.version(package)}" for package in config.PACKAGES]
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} threads{memory}, {system}\n{', '.join(versions)}\n"


def alternate(rounds: int, **runs: Callable[[], float]) -> dict[str, float]:
    """Take several measurements in turn, so that a drifting machine favours none.

    Args:
        rounds: how often each is taken.
        runs: functions that return a measurement, by name.

    Returns:
        The median of each, by name.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: statistics.median(values) for name, values in found.items()}


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_memory() -> float:
    """Return the most memory that this process has held so far, GB."""
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def with_model_defaults(settings: TrainConfig) -> TrainConfig:
    """Return the settings with what the model itself sets filled in, as `train.py` does."""
    from models import model_defaults

    return config.fill_in(settings, model_defaults(settings.model))


def training_augmentation(settings: TrainConfig):
    """Return the augmentation of the default recipe."""
    from data.augmentation import build_augmentation

    return build_augmentation(
        image_size=settings.image_size, **config.augmentation_options(settings)
    )
