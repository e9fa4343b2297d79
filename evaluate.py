"""Evaluate a trained model: python evaluate.py --model_path runs/NAME/model.keras"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from config import EvaluateConfig
from models.description import SYNTHETIC_WARNING
from support import cli
from support.files import make_folder, one_line
from support.terminal import Progress, format_seconds, red
from training.run import choose_data_dir, find_model

if TYPE_CHECKING:
    import pandas as pd

    from metrics.evaluation import Evaluation
    from metrics.page import Misclassification
    from models.classifier import Classifier, Predictions

PROGRAM = "evaluate.py"
NOTICE = "For research and teaching only; not a medical device, not medical advice."
NO_HEAT_MAPS = "Without heat maps: only the .keras file of a model gives them, not a .tflite file."
NO_HASHES = (
    "This model file has no pixel hashes: copies of its training images under other names are not "
    "recognized."
)


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""

    def command() -> int:
        return evaluate(cli.parse(EvaluateConfig, argv, prog=PROGRAM, description=__doc__))

    return cli.run(PROGRAM, command, out_of_memory="out of memory; reduce --batch_size")


def evaluate(settings: EvaluateConfig) -> int:
    """Load the model, select the images, predict, measure, and write the report."""
    started = time.monotonic()
    with cli.naming_flag("--model_path"):
        settings = replace(settings, model_path=str(find_model(settings.model_path)))
    data_dir, origin = choose_data_dir(settings.data_dir, settings.model_path)

    from models.backend import start_tensorflow

    start_tensorflow()

    from data.classes import melanoma_class
    from metrics.evaluation import evaluation_metrics
    from metrics.report import format_metrics
    from models.classifier import load_classifier
    from training.dataset import select_images

    classifier = load_classifier(settings.model_path)
    description = classifier.description
    if description.synthetic:
        print(red(f"warning: {SYNTHETIC_WARNING}"))
    frame = select_images(data_dir, settings.split, description)
    print(
        f"{settings.model_path}, split {settings.split}: {len(frame):,} images of "
        f"{frame['lesion_id'].nunique():,} lesions in {one_line(data_dir)} ({origin})",
        flush=True,
    )
    notes = list_notes(classifier, frame)
    print(*notes, sep="\n", file=sys.stderr, end="\n" if notes else "")
    if description.synthetic:
        notes.insert(0, SYNTHETIC_WARNING)
    default = Path(settings.model_path).parent / f"evaluation-{settings.split}"
    with cli.naming_flag("--output_dir"):
        output_dir = make_folder(settings.output_dir or default)
    times = [started, time.monotonic()]
    read, predictions, evaluation = predict(classifier, frame, data_dir, settings)
    times.append(time.monotonic())
    melanoma = melanoma_class(description.class_names)
    metrics = evaluation_metrics(evaluation, malignant=description.malignant, melanoma=melanoma)
    write(classifier, read, predictions, evaluation, metrics, notes, settings, output_dir)
    times.append(time.monotonic())
    start, inference, report = (format_seconds(b - a) for a, b in pairwise(times))
    print(
        f"\n{format_metrics(metrics)}\n\nStart {start}, inference {inference}, report {report}.\n"
        f"Written to {output_dir}: report.html, metrics.json, predictions.csv, plots."
    )
    return 1 if len(read) < len(frame) else 0


def list_notes(classifier: Classifier, frame: pd.DataFrame) -> list[str]:
    """Return what a reader has to know before the metrics."""
    from data.splits import count_known

    notes = []
    if known := count_known(frame, classifier.description):
        notes.append(
            f"{known:,} of these {len(frame):,} images, or other images of their lesions, were "
            "used to train or validate the model: its metrics are too high."
        )
    if not classifier.description.train_pixel_hashes:
        notes.append(NO_HASHES)
    if classifier.description.temperature == 1.0:
        notes.append("The probabilities are not calibrated (temperature 1).")
    return notes if classifier.can_explain else [*notes, NO_HEAT_MAPS]


def predict(
    classifier: Classifier, frame: pd.DataFrame, data_dir: str, settings: EvaluateConfig
) -> tuple[pd.DataFrame, Predictions, Evaluation]:
    """Predict all images and, where there are masks, compare heat maps with them.

    Returns:
        The rows of the images that could be read, and their predictions twice: with the warnings,
        and as the metrics need them.
    """
    import numpy as np

    from data import DataError
    from data.ham10000 import find_masks, subgroup_columns
    from data.images import load_masks
    from data.pipeline import iterate_batches
    from data.provenance import compare_sources
    from data.splits import class_indices
    from metrics.evaluation import Evaluation
    from metrics.localization import compare_with_masks, pointing_game
    from models.classifier import join_predictions

    description = classifier.description
    image_size = description.image_size
    masks = find_masks(data_dir) if classifier.can_explain else {}
    progress = Progress("evaluating")
    used, batches, comparisons, done = [], [], [], 0
    for indices, images, failures in iterate_batches(
        frame["path"].tolist(), image_size=image_size, batch_size=settings.batch_size
    ):
        predictions = classifier(images, tta=settings.tta)
        used += indices
        batches.append(predictions)
        mask_paths = [masks.get(image_id) for image_id in frame["image_id"].iloc[indices]]
        image_paths = frame["path"].iloc[indices]
        masked, batch_masks, mask_failures = load_masks(mask_paths, image_size, image_paths)
        if masked:
            heat_maps = classifier.explain(images[masked], predictions.class_indices[masked])
            comparisons.append(compare_with_masks(heat_maps, batch_masks))
        progress.clear()
        for message in [*failures.values(), *mask_failures]:
            print(f"skipped {message}", file=sys.stderr)
        done += len(indices) + len(failures)
        progress.update(done, len(frame))
    if not used:
        raise DataError(f"expected readable images, received {len(frame)} that cannot be read")
    rows, predictions = frame.iloc[used].reset_index(drop=True), join_predictions(batches)
    sources, trained_on = compare_sources(rows, data_dir, description)
    evaluation = Evaluation(
        class_names=description.class_names,
        y_true=class_indices(rows["label"], description.class_names),
        y_prob=predictions.y_prob,
        uncalibrated=predictions.uncalibrated,
        temperature=description.temperature,
        lesion_ids=rows["lesion_id"].tolist(),
        subgroups=subgroup_columns(rows),
        localization=pointing_game(np.concatenate(comparisons)) if comparisons else None,
        sources=sources,
        trained_on=trained_on,
    )
    return rows, predictions, evaluation


def write(
    classifier: Classifier,
    frame: pd.DataFrame,
    predictions: Predictions,
    evaluation: Evaluation,
    metrics: dict,
    notes: list[str],
    settings: EvaluateConfig,
    output_dir: Path,
) -> None:
    """Write the report."""
    from data.class_names import class_titles
    from data.classes import melanoma_class
    from data.ham10000 import SUBGROUP_NAMES
    from metrics.page import ReportContext, binary_task_labels, build_page
    from metrics.plots import plot_evaluation
    from metrics.report import prediction_table, write_report

    description = classifier.description
    table = prediction_table(
        frame["image_id"],
        predictions.y_prob,
        description.class_names,
        uncertain=predictions.uncertain,
        out_of_distribution=predictions.out_of_distribution,
    )
    table[["label", "lesion_id"]] = frame[["label", "lesion_id"]]
    title = f"split {settings.split}, {len(frame):,} images"
    size = f"central square, or visible field, at {description.image_size} pixels"
    context = ReportContext(
        title=f"{description.model}: evaluation, {title}",
        facts={
            "Model": f"{settings.model_path}, {description.origin}",
            "Evaluated on": f"{len(frame):,} images of {frame['lesion_id'].nunique():,} "
            f"lesions, split {settings.split}",
            "Input": size + (", mean over eight flips and rotations" if settings.tta else ""),
        },
        notes=[NOTICE, *notes],
        names=SUBGROUP_NAMES | class_titles(description.class_names, description.class_titles),
        malignant=description.malignant,
        binary_tasks=binary_task_labels(
            description.malignant, melanoma_class(description.class_names)
        ),
    )
    figures = plot_evaluation(evaluation, metrics, title=title)
    errors = find_errors(classifier, frame, evaluation)
    page = build_page(metrics, context, figures=figures, errors=errors)
    write_report(output_dir, metrics=metrics, predictions=table, figures=figures, page=page)


def find_errors(
    classifier: Classifier, frame: pd.DataFrame, evaluation: Evaluation
) -> list[Misclassification]:
    """Return the most confident errors, with their heat maps if the model gives them."""
    import numpy as np

    from data.images import load_image
    from metrics.classification import most_confident_errors
    from metrics.page import Misclassification
    from models.grad_cam import overlay

    y_prob, class_names = evaluation.y_prob, evaluation.class_names
    found = most_confident_errors(evaluation.y_true, y_prob, evaluation.lesion_ids)
    rows, class_indices = frame.iloc[found], y_prob[found].argmax(axis=1)
    images = [load_image(path, classifier.description.image_size) for path in rows["path"]]
    overlays = [None] * len(images)
    if classifier.can_explain and images:
        heat_maps = classifier.explain(np.stack(images), class_indices)
        overlays = list(map(overlay, images, heat_maps))
    return [
        Misclassification(image_id, label, class_names[k], float(y_prob[i, k]), image, shown)
        for image_id, label, k, i, image, shown in zip(
            rows["image_id"], rows["label"], class_indices, found, images, overlays, strict=True
        )
    ]


if __name__ == "__main__":
    sys.exit(main())
