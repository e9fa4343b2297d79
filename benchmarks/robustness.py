"""How much of its accuracy a model keeps on corrupted images and on images with artifacts.

Eight corruptions (brightness, gamma, white balance, blur, noise, JPEG, downsampling, rotation) and
five artifacts of dermatoscopy (hair, ruler, ink, gel bubbles, vignette), each in five strengths,
are generated on test images of the model. Strength 5 is strong, but people can still judge the
lesion. An image is corrupted in the same way for every model. The ratio is the mean of the balanced
accuracy on corrupted images over that on the images as they are.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.corruptions import ARTIFACTS, CORRUPTIONS, STRENGTHS, corrupt
from benchmarks.machine import describe_sizes, plot_path, run_benchmark
from config import BUNDLED_MODEL, RUNS_DIR
from data import DataError
from data.parallel import in_parallel
from support.cli import naming_flag
from support.files import list_names, make_folder, replacing
from support.terminal import Progress
from training.model_paths import find_model

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from models.classifier import Classifier

KINDS = (*CORRUPTIONS, *ARTIFACTS)
BATCH_SIZE = 64
# Colors of the plot: a metric at this fraction of its value on clean images is darkest.
LOWEST_SHOWN = 0.5


@dataclass(frozen=True)
class Metrics:
    """The metrics of a model on the same images, corrupted in one way or clean.

    Attributes:
        balanced_accuracy: 0..1.
        melanoma_roc_auc: of melanoma versus the rest, 0..1; None if undefined.
    """

    balanced_accuracy: float
    melanoma_roc_auc: float | None


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "robustness",
        __doc__,
        measure,
        argv,
        model_path=(BUNDLED_MODEL, "a .keras, .tflite or .onnx file, or the folder of a run"),
        images=(600, "number of images of the split, as many of each class if possible"),
        split=("test", "images of the model to take: those of its test split, or val"),
        output=(f"{RUNS_DIR}/robustness.png", "plot of the metrics, a .png file"),
    )


def measure(options: argparse.Namespace) -> int:
    """Measure the model on clean and corrupted images; returns how many cannot be read."""
    output = plot_path(options.output)
    with naming_flag("--model_path"):
        model_path = find_model(options.model_path)

    from models.backend import start_tensorflow

    start_tensorflow()

    from app.export_images import choose_balanced, read_images
    from data.classes import melanoma_class
    from models.classifier import load_classifier
    from training.selection import select_images

    with naming_flag("--model_path"):
        classifier = load_classifier(model_path, engine="auto")
    description = classifier.description
    everything = select_images(options.data_dir, options.split, description)
    with naming_flag("--output"):
        make_folder(output.parent)
    chosen = choose_balanced(everything, options.images).sort_index()
    images, frame = read_images(chosen, description.image_size)
    print(f"{model_path}, {description.image_size} px")
    print(describe_images(frame, len(everything), options.split))
    melanoma = melanoma_class(description.class_names)
    if missing := why_without_melanoma(frame["label"].tolist(), melanoma):
        print(f"Without melanoma ROC AUC: {missing}.")
        melanoma = None
    print("", flush=True)
    clean, corrupted = compare(classifier, images, frame, melanoma)
    with replacing(output) as temporary:
        title = f"{model_path.name}, {len(frame):,} images, split {options.split}"
        plot(clean, corrupted, title=title).savefig(temporary, dpi=200)
    print(
        f"\nplot: {output}\nThe ratio is the balanced accuracy on corrupted images over that on "
        f"clean images ({clean.balanced_accuracy:.3f}),\nmean over {len(KINDS)} kinds in "
        f"{len(STRENGTHS)} strengths, each on the same {len(frame):,} images."
    )
    print(f"ratio: {np.mean(list(ratios(clean, corrupted).values())):.3f}")
    return len(chosen) - len(frame)


def describe_images(frame: pd.DataFrame, available: int, split: str) -> str:
    """Say how many images are used, of which classes, and in which resolution their files are."""
    classes = [f"{count:,} {name}" for name, count in frame["label"].value_counts().items()]
    return (
        f"{len(frame):,} of {available:,} images of split {split}: {list_names(classes)}\n"
        f"pixels of their files: {describe_sizes(frame)}"
    )


def why_without_melanoma(labels: Sequence[str], melanoma: str | None) -> str:
    """Return why there is no ROC AUC of melanoma versus the rest; empty if there is one.

    Args:
        labels: of the images.
        melanoma: the class of the model that is melanoma; None without one.
    """
    if melanoma is None:
        return "the model has no class that is melanoma"
    if melanoma not in labels:
        return f"none of the images is a melanoma ({melanoma})"
    return f"all images are melanomas ({melanoma})" if set(labels) == {melanoma} else ""


def compare(
    classifier: Classifier, images: np.ndarray, frame: pd.DataFrame, melanoma: str | None
) -> tuple[Metrics, dict[str, list[Metrics]]]:
    """Measure a model on clean and corrupted images, and print a line for each kind.

    Args:
        classifier: of the model.
        images: uint8 `[images, size, size, 3]`, 0..255.
        frame: with `image_id` and `label` of each.
        melanoma: the class whose ROC AUC is measured; None for none.

    Returns:
        The metrics on the clean images, and by kind those at each strength.

    Raises:
        DataError: the balanced accuracy on the clean images is 0, so there is no ratio.
    """
    from data.targets import class_indices
    from metrics.classification import classification_metrics

    class_names = classifier.description.class_names
    y_true = class_indices(frame["label"], class_names)
    seeds = [image_seed(image_id) for image_id in frame["image_id"]]
    progress, passes = Progress("robustness", unit="passes"), itertools.count(1)
    total = 1 + len(KINDS) * len(STRENGTHS)

    def measure_once(kind: str | None, strength: int = 0) -> Metrics:
        y_prob = predict(classifier, images, kind, strength, seeds)
        found = classification_metrics(y_true, y_prob, class_names)
        progress.update(next(passes), total)
        area = None if melanoma is None else found["per_class"][melanoma]["roc_auc"]
        return Metrics(found["balanced_accuracy"], area)

    clean = measure_once(None)
    if clean.balanced_accuracy == 0:
        raise DataError(
            "expected a model that predicts the class of some image, received one with a balanced "
            "accuracy of 0"
        )
    progress.clear()
    print(format_header(clean), flush=True)
    corrupted = {}
    for kind in KINDS:
        corrupted[kind] = [measure_once(kind, strength) for strength in STRENGTHS]
        progress.clear()
        print(format_row(kind, clean, corrupted[kind]), flush=True)
    return clean, corrupted


def image_seed(image_id: str) -> int:
    """Return the seed of an image's corruptions, which depends on nothing but its id."""
    return zlib.crc32(image_id.encode())


def predict(
    classifier: Classifier,
    images: np.ndarray,
    kind: str | None,
    strength: int,
    seeds: Sequence[int],
) -> np.ndarray:
    """Return the probabilities of all images, which are corrupted unless the kind is None.

    Returns:
        float32 `[images, classes]`.
    """

    def change(index: int) -> np.ndarray:
        if kind is None:
            return images[index]
        return corrupt(images[index], kind, strength, seed=seeds[index])

    batches = []
    changed = in_parallel(change, range(len(images)))
    while batch := list(itertools.islice(changed, BATCH_SIZE)):
        batches.append(classifier(np.stack(batch)).y_prob)
    return np.concatenate(batches)


def ratios(clean: Metrics, corrupted: dict[str, list[Metrics]]) -> dict[str, float]:
    """Return by kind the balanced accuracy over that of clean images, mean over the strengths."""
    return {
        kind: float(np.mean([metrics.balanced_accuracy for metrics in row]))
        / clean.balanced_accuracy
        for kind, row in corrupted.items()
    }


def format_header(clean: Metrics) -> str:
    """Return the heading of the table, and the line of the clean images."""
    width, has_melanoma = 7 * len(STRENGTHS), clean.melanoma_roc_auc is not None
    heading = f"{'':<14}{'balanced accuracy':>{width}}{'':>7}"
    numbers = "".join(f"{strength:>7}" for strength in STRENGTHS)
    columns = f"{'strength':<14}{numbers}{'ratio':>7}"
    values = f"{'clean':<14}{clean.balanced_accuracy:>7.3f}"
    if has_melanoma:
        heading += f"{'melanoma ROC AUC':>{3 + width}}"
        columns += f"   {numbers}"
        values += f"{clean.melanoma_roc_auc:>{width + 10}.3f}"
    return "\n".join((heading, columns, values))


def format_row(kind: str, clean: Metrics, row: Sequence[Metrics]) -> str:
    """Return the line of one kind: the metrics at each strength, and the ratio."""
    accuracies = "".join(f"{metrics.balanced_accuracy:>7.3f}" for metrics in row)
    line = f"{kind:<14}{accuracies}{ratios(clean, {kind: list(row)})[kind]:>7.3f}"
    if clean.melanoma_roc_auc is None:
        return line
    return line + "   " + "".join(f"{metrics.melanoma_roc_auc:>7.3f}" for metrics in row)


def plot(clean: Metrics, corrupted: dict[str, list[Metrics]], *, title: str) -> Figure:
    """Plot each metric by kind and strength, the darker the more of it is lost.

    Args:
        clean: on clean images.
        corrupted: by kind, at each strength.
        title: title of the figure.

    Returns:
        A figure of a panel for each metric, narrow enough for the screen of a phone.
    """
    from matplotlib.figure import Figure

    panels = {"Balanced accuracy": "balanced_accuracy", "Melanoma ROC AUC": "melanoma_roc_auc"}
    panels = {name: key for name, key in panels.items() if getattr(clean, key) is not None}
    figure = Figure(figsize=(1.9 + 2.25 * len(panels), 6.6), layout="constrained")
    figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, key) in zip(grid, panels.items(), strict=True):
        reference = getattr(clean, key)
        values = np.array([[getattr(m, key) for m in row] for row in corrupted.values()])
        kept = values / reference
        image = axes.imshow(
            kept, cmap="Blues_r", vmin=LOWEST_SHOWN, vmax=1.05, aspect="auto", interpolation="none"
        )
        for (row, column), value in np.ndenumerate(values):
            color = "white" if kept[row, column] < 0.74 else "#111827"
            # Two digits are readable on a phone.
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", fontsize=9.5, color=color
            )
        axes.set_title(f"{name}\nclean: {reference:.3f}", fontsize=10.5)
        axes.set_xticks(range(len(STRENGTHS)), STRENGTHS)
        axes.set_xlabel("strength")
        axes.set_yticks(range(len(corrupted)), list(corrupted), fontsize=10)
        axes.axhline(len(CORRUPTIONS) - 0.5, color="white", linewidth=4)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    bar = figure.colorbar(
        image, ax=list(grid), location="bottom", shrink=0.8, aspect=30, extend="min"
    )
    bar.set_label("fraction of the value on clean images")
    bar.outline.set_visible(False)
    return figure


if __name__ == "__main__":
    sys.exit(main())
