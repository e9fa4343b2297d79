"""What all benchmarks share: the command line, the data, and ways to measure."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import config
from data import DataError
from support import InputError, cli
from support.files import list_names
from training.run import installed_versions
from training.settings import build_train_config

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# The settings of `python train.py` without flags.
RECIPE = build_train_config({})


def run_benchmark(
    name: str,
    doc: str,
    measure: Callable[[argparse.Namespace], int | None],
    argv: list[str] | None,
    *,
    has_data: bool = True,
    **options: tuple,
) -> int:
    """Parse the command line, describe the machine and measure; returns the exit code.

    Args:
        name: of the module.
        doc: its docstring.
        measure: takes the options, prints the results and the ratio; returns how many files could
            not be used, or None if all had to be.
        argv: the arguments; None for those of the process.
        has_data: whether it reads a data set.
        options: as for `parse_options`.
    """
    program = f"python -m benchmarks.{name}"

    def command() -> int:
        values = parse_options(program, doc, argv, has_data=has_data, **options)
        print(describe_machine(), flush=True)
        return 1 if measure(values) else 0

    return cli.run(program, command)


def parse_options(
    program: str, doc: str, argv: list[str] | None, *, has_data: bool = True, **options: tuple
) -> argparse.Namespace:
    """Parse `--data_dir` and the options of a benchmark, or exit with code 2.

    Args:
        program: name of the command.
        doc: what it does.
        argv: the arguments; None for those of the process.
        has_data: whether there is `--data_dir`.
        options: by name: default, help and, for a number, the smallest value if that is not 1.
    """
    parser = cli.ArgumentParser(prog=program, description=doc)
    if has_data:
        options = {"data_dir": (config.DATA_DIR, "folder of labels and images"), **options}
    for name, (default, text, *minimum) in options.items():
        kind = type(default)
        parser.add_argument(
            f"--{name}",
            type=str if kind in (str, tuple) else number_type(kind, *minimum),
            nargs="+" if kind is tuple else None,
            default=default,
            metavar=name.rpartition("_")[2].upper(),
            help=f"{text} (default: {' '.join(default) if kind is tuple else default})",
        )
    return parser.parse_args(argv)


def number_type(kind: type, minimum: float = 1) -> Callable[[str], float]:
    """Return a function that parses numbers for `argparse` and refuses those below a minimum."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        # Written so that NaN fails as well.
        if not value >= minimum:
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"expected {noun} of at least {minimum}, received {text!r}"
            )
        return value

    return parse


def plot_path(output: str) -> Path:
    """Return the path of `--output`.

    Raises:
        InputError: it is no name of a .png file.
    """
    path = Path(output)
    if path.suffix != ".png":
        raise InputError(f"--output: expected a name ending in .png, received {output!r}")
    return path


def describe_machine() -> str:
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
    versions = installed_versions()
    system = f"{platform.system()}, Python {versions.pop('python')}"
    packages = ", ".join(map(" ".join, versions.items()))
    return f"{name}, {os.cpu_count()} threads{memory}, {system}\n{packages}\n"


def read_images(data_dir: str, count: int | None = None) -> pd.DataFrame:
    """Read the labels of a data set, without those that have no image file.

    Args:
        data_dir: folder of the data set.
        count: maximum number of rows; None for all.

    Raises:
        DataError: the data set cannot be used.
    """
    # pandas, which takes a second to import, is not needed for `--help`.
    from training.labels import read_labels

    with cli.naming_flag("--data_dir"):
        frame, _ = read_labels(data_dir)
        if frame.empty:
            raise DataError(f"expected image files in {data_dir}, found none")
    return frame.iloc[:count]


def decode(paths: Sequence[str], image_size: int) -> np.ndarray:
    """Decode images, all of which must be readable.

    Args:
        paths: image files.
        image_size: side length of the result, pixels.

    Returns:
        uint8 `[paths, image_size, image_size, 3]`, 0..255.

    Raises:
        DataError: an image cannot be read.
    """
    # Its TensorFlow is started first, by `start_tensorflow`.
    from data.pipeline import decode_images

    images, failures = decode_images(paths, image_size=image_size)
    for message in failures.values():
        raise DataError(message)
    return images


def describe_sizes(frame: pd.DataFrame) -> str:
    """Name the most frequent sizes of the image files of a frame."""
    from data.images import image_size_of

    sizes = Counter(filter(None, map(image_size_of, frame["path"])))
    files = [f"{count:,} of {width} x {height}" for (width, height), count in sizes.most_common()]
    return list_names(files, 3)


def alternate(rounds: int, **measurements: Callable[[], float]) -> dict[str, float]:
    """Take several measurements in turn, so that a drifting machine favors none.

    Args:
        rounds: how often each is taken.
        measurements: functions that return a value, by name.

    Returns:
        The median of each, by name.
    """
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            values[name].append(measure())
    return {name: statistics.median(found) for name, found in values.items()}


def seconds(call: Callable[[], object]) -> float:
    """Return the duration of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_python(*arguments: str) -> str:
    """Run Python in a new process and return its standard output.

    Args:
        arguments: of the interpreter.

    Raises:
        InputError: the process fails.
    """
    found = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if found.returncode:
        reason = (found.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"a process ended with exit code {found.returncode}: {reason}")
    return found.stdout


def peak_memory(*, children: bool = False) -> float:
    """Return the peak memory of this process, GB; or that of the largest of it and its children."""
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    # On Linux, `ru_maxrss` begins with the peak of the process that started this one.
    peaks = [_read_status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
    if children:
        peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return max(peaks) * unit / 1e9


@contextlib.contextmanager
def stage_memory() -> Iterator[Callable[[], float]]:
    """Measure by how much a block raises the memory of this process.

    Yields:
        A function that returns the peak since the start of the block less the memory at that time,
        GB; NaN where the system does not tell, as on all but Linux.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _read_status("VmRSS") or float("nan")
    except OSError:
        before = float("nan")
    yield lambda: ((_read_status("VmHWM") or 0) - before) * 1024 / 1e9


def _read_status(name: str) -> int | None:
    """Return a value of this process, kB; None where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return None
