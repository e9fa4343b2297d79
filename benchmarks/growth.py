"""How time and memory of each stage of a training grow with the number of images.

Synthetic images, by default as many as the ISIC Archive has, are written to a temporary folder
until there are a 32nd, a tenth, a third and all of them. At each of these numbers a new process
runs the stages of `train.py` that depend on it: the table is read; each image is read for its hash
and its thumbnail; near-duplicates are searched; lesions are split; headers are checked; images are
decoded into an array file; and the default recipe trains for an epoch, at a small size. Time and
memory of a stage grow as a power of the number of images, whose exponent is printed and plotted.
The ratio is the time per image of all stages but the search, with most images over that with
fewest.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import RECIPE, plot_path, run_benchmark, seconds, stage_memory
from config import RUNS_DIR
from metrics.png import save_figure
from support.cli import naming_flag
from support.files import make_folder
from support.terminal import format_seconds

if TYPE_CHECKING:
    import numpy as np

SEARCH = "near-duplicates"
# Parts of the largest number of images, half a power of ten apart.
_PARTS = (10**-1.5, 0.1, 10**-0.5, 1.0)
# Below this, GB, memory is that of the interpreter and its libraries.
_MEASURABLE = 0.02


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage takes.

    Attributes:
        seconds: of time.
        memory: by how much it raised the peak of the process, GB; NaN where that is unknown.
    """

    seconds: float
    memory: float


# By number of images, then by stage.
Costs = dict[int, dict[str, Cost]]


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "growth",
        __doc__,
        measure,
        argv,
        has_data=False,
        images=(100_000, "largest number of images", 100),
        image_size=(64, "side length of the training images, pixels", 32),
        output=(f"{RUNS_DIR}/growth.png", "plot of time and memory, a .png file"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure all stages at each number of images, print the exponents, and plot."""
    output = plot_path(options.output)
    with naming_flag("--output"):
        make_folder(output.parent)

    from benchmarks.generated import grow

    costs: Costs = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, count = Path(name), 0
        (folder / "data").mkdir()
        for part in _PARTS:
            start, count = count, round(options.images * part)
            generating = seconds(lambda start=start, stop=count: grow(folder / "data", start, stop))
            print(f"{count:,} images, {format_seconds(generating)} to generate", flush=True)
            # A process of its own has the memory peaks of this number of images alone.
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                costs[count] = process.submit(run_stages, folder, options.image_size).result()
    report(costs)
    plot(costs, output)
    rest = [
        sum(cost.seconds for stage, cost in costs[count].items() if stage != SEARCH) / count
        for count in (max(costs), min(costs))
    ]
    print(f"\nplot: {output}\nratio: {rest[0] / rest[1]:.2f}")


def run_stages(folder: Path, image_size: int) -> dict[str, Cost]:
    """Run the stages on all images of a data set, and print the cost of each.

    Args:
        folder: has the data set in `data`; receives the array file.
        image_size: of the training, pixels.
    """
    from models.backend import start_tensorflow

    start_tensorflow()

    from benchmarks.fitting import compile_model, last_epoch_seconds, make_batches
    from data.batches import check_images
    from data.fingerprints import read_fingerprints
    from data.near_duplicates import find_near_duplicates
    from data.pipeline import count_steps, decode_images
    from data.sources import read_dataset
    from data.splits import join_lesions, split_by_lesion

    costs: dict[str, Cost] = {}

    def stage(name: str, call: Callable[[], Any]) -> Any:
        found = []
        with stage_memory() as memory:
            duration = seconds(lambda: found.append(call()))
        costs[name] = Cost(duration, memory())
        print(f"  {name:<16}{duration:>9.1f} s{_gigabytes(costs[name].memory):>10}", flush=True)
        return found[0]

    settings = dataclasses.replace(RECIPE, image_size=image_size)
    frame = stage("table", lambda: read_dataset(folder / "data").frame)
    paths = frame["path"].tolist()
    fingerprints = stage("hash, thumbnail", lambda: read_fingerprints(paths))
    pairs = stage(SEARCH, lambda: find_near_duplicates(fingerprints.thumbnails))
    frame["pixel_hash"] = fingerprints.hashes

    def split() -> None:
        frame["group"] = join_lesions(frame, pairs)
        frame["split"] = split_by_lesion(
            frame,
            seed=settings.split_seed,
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
        )

    stage("split", split)
    stage("headers", lambda: check_images(paths))
    size = settings.stored_size(settings.image_size)
    images, _ = stage(
        "array file",
        lambda: decode_images(paths, image_size=size, store="file", store_dir=folder / "cache"),
    )
    model, batches = (
        compile_model(settings, RECIPE.fine_tune_layers),
        make_batches(frame, images, settings),
    )
    last_epoch_seconds(model, batches, steps=2)  # compiles
    steps = count_steps(len(frame), settings.batch_size)
    stage("epoch", lambda: last_epoch_seconds(model, batches, steps=steps))
    return costs


def report(costs: Costs) -> None:
    """Print the costs of each stage, with their exponents."""
    for title, attribute, show in (
        ("time", "seconds", lambda value: f"{value:.1f} s"),
        ("memory", "memory", _gigabytes),
    ):
        print(f"\n{title:<18}" + "".join(f"{count:>12,}" for count in costs) + "  exponent")
        for stage in costs[min(costs)]:
            values = [getattr(costs[count][stage], attribute) for count in costs]
            power = exponent(list(costs), values, floor=_MEASURABLE if title == "memory" else 0)
            shown = "-" if power is None else f"{power:.2f}"
            print(f"{stage:<18}" + "".join(f"{show(v):>12}" for v in values) + f"{shown:>10}")


def exponent(counts: list[int], values: list[float], *, floor: float = 0.0) -> float | None:
    """Return the exponent of the power of the counts that fits values best, by least squares.

    Args:
        counts: numbers of images.
        values: the cost of each.
        floor: values up to this one say nothing.

    Returns:
        The slope of the logarithms; None with fewer than two values above the floor.
    """
    import numpy as np

    usable = [(count, value) for count, value in zip(counts, values, strict=True) if value > floor]
    if len(usable) < 2:
        return None
    x, y = np.log(np.array(usable)).T
    return float(np.polyfit(x, y, 1)[0])


def plot(costs: Costs, path: Path) -> None:
    """Plot time and memory of each stage over the number of images, both on logarithmic axes."""
    import numpy as np
    from matplotlib.figure import Figure

    counts = np.array(list(costs))
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, (attribute, title) in zip(
        figure.subplots(1, 2),
        (("seconds", "Time, seconds"), ("memory", "Memory added, GB")),
        strict=True,
    ):
        for stage in costs[min(costs)]:
            values = np.array([getattr(costs[count][stage], attribute) for count in costs])
            if attribute == "memory":
                values[~(values > _MEASURABLE)] = np.nan
            axes.loglog(counts, values, marker="o", markersize=4, label=stage)
        _draw_slope(axes, counts)
        axes.set(title=title, xlabel="images")
        axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save_figure(figure, path)


def _draw_slope(axes: Any, counts: np.ndarray) -> None:
    """Draw what grows as the number of images does, through the middle of the axes."""
    low, high = axes.get_ylim()
    middle = (low * high) ** 0.5
    values = middle * counts / (counts[0] * counts[-1]) ** 0.5
    axes.loglog(counts, values, color="gray", linestyle="--", linewidth=0.8, label="exponent 1")
    axes.set_ylim(low, high)


def _gigabytes(value: float) -> str:
    return f"{value:.2f} GB" if value == value else "-"


if __name__ == "__main__":
    sys.exit(main())
