"""Evaluate a trained model: python evaluate.py --model_path runs/NAME/model.keras"""

from __future__ import annotations

import datetime
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from config import EvaluateConfig
from metrics import NOTICE
from models.description import SYNTHETIC_WARNING
from support import cli
from support.files import common_folder, make_folder, one_line
from support.terminal import format_seconds, red
from training.model_paths import choose_data_dir, choose_models
from training.run import command_line, installed_versions

if TYPE_CHECKING:
    from metrics.sections import Misclassification
    from models.predictions import BaseClassifier
    from training.evaluation import PredictedImages
    from training.selection import Selection

PROGRAM = "evaluate.py"
NO_HEAT_MAPS = (
    "Without heat maps: only the .keras file of a model gives them, not an exported file."
)
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
    """Load the models, select the images, predict, measure, and write the report."""
    started = time.monotonic()
    from metrics.operating_points import read_prevalence

    with cli.naming_flag("--prevalence"):
        prevalence = read_prevalence(settings.prevalence)
    paths, name = choose_models(settings.model_path)
    data_dir, origin = choose_data_dir(settings.data_dir, paths[0])

    from data.classes import melanoma_class
    from metrics.comparison import read_predictions
    from metrics.evaluation import evaluation_metrics
    from metrics.report import format_metrics
    from models.checksums import file_checksum
    from models.ensemble import load_predictor
    from training.evaluation import predict
    from training.selection import count_images, select
    from training.submission import choose_submission

    classifier = load_predictor(paths, engine=settings.engine)
    description = classifier.description
    if description.synthetic:
        print(red(f"warning: {SYNTHETIC_WARNING}"))
    selection = select(classifier, data_dir, settings.split)
    frame, other = selection.frame, None
    submission = choose_submission(settings.columns, description, frame["image_id"].tolist())
    if settings.compare is not None:
        labels = dict(zip(frame["image_id"], frame["label"], strict=True))
        with cli.naming_flag("--compare"):
            other = read_predictions(settings.compare, description.class_names, labels)
    print(
        f"{name}, split {selection.split}{', out of fold' if selection.is_out_of_fold else ''}: "
        f"{count_images(frame)} in {one_line(data_dir)} ({origin})",
        flush=True,
    )
    notes = list_notes(classifier, selection, prevalence)
    print(*notes, sep="\n", file=sys.stderr, end="\n" if notes else "")
    if description.synthetic:
        notes.insert(0, SYNTHETIC_WARNING)
    default = common_folder(paths) / f"evaluation-{selection.split}"
    with cli.naming_flag("--output_dir"):
        output_dir = make_folder(settings.output_dir or default)
    times = [started, time.monotonic()]
    predicted = predict(selection, data_dir, settings)
    times.append(time.monotonic())
    melanoma = melanoma_class(description.class_names)
    metrics = evaluation_metrics(
        predicted.evaluation,
        malignant=description.malignant,
        melanoma=melanoma,
        prevalence=prevalence,
        other=other,
    )
    metrics |= {"model_checksums": [file_checksum(path) for path in paths]}
    write(selection, predicted, metrics, notes, settings, name, output_dir)
    files = "report.html, metrics.json, predictions.csv, plots"
    if submission:
        y_prob, image_ids = predicted.predictions.y_prob, predicted.frame["image_id"].tolist()
        files += f", {submission.write(output_dir, image_ids, y_prob).name}"
    times.append(time.monotonic())
    start, inference, report = (format_seconds(b - a) for a, b in pairwise(times))
    inference += f" by {classifier.engine}"
    print(
        f"\n{format_metrics(metrics)}\n\nStart {start}, inference {inference}, report {report}.\n"
        f"Written to {output_dir}: {files}."
    )
    return 1 if len(predicted.frame) < len(frame) else 0


def list_notes(
    classifier: BaseClassifier, selection: Selection, prevalence: dict[str, float]
) -> list[str]:
    """Return what a reader has to know before the metrics."""
    from data.known import count_known

    description, frame, notes = classifier.description, selection.frame, []
    if selection.is_out_of_fold:
        notes.append(
            f"Out of fold: {len(selection.parts)} models, each predicts the images that validated "
            "it. These chose its best epoch and its temperature, so its metrics are slightly "
            "optimistic."
        )
    elif known := count_known(frame, description):
        notes.append(
            f"{known:,} of these {len(frame):,} images, or other images of their lesions, were "
            "used to train or validate the model: its metrics are too high."
        )
    if not description.train_pixel_hashes:
        notes.append(NO_HASHES)
    if description.temperature == 1.0:
        notes.append("The probabilities are not calibrated (temperature 1).")
    for task in sorted(set(prevalence) - set(description.operating_points or {})):
        notes.append(
            f"Without PPV and NPV at the stated prevalence of {task}: the model has no thresholds "
            "for it that were fixed on validation images."
        )
    return notes if classifier.can_explain else [*notes, NO_HEAT_MAPS]


def write(
    selection: Selection,
    predicted: PredictedImages,
    metrics: dict,
    notes: list[str],
    settings: EvaluateConfig,
    name: str,
    output_dir: Path,
) -> None:
    """Write the report."""
    from data.class_names import class_titles
    from data.classes import melanoma_class
    from data.ham10000 import SUBGROUP_NAMES
    from metrics.page import binary_task_labels, build_page
    from metrics.plots import plot_evaluation
    from metrics.prediction_table import prediction_table
    from metrics.report import write_report
    from metrics.sections import ReportContext
    from training.selection import count_images

    description, frame, predictions = (
        selection.description,
        predicted.frame,
        predicted.predictions,
    )
    table = prediction_table(
        frame["image_id"],
        predictions.y_prob,
        description.class_names,
        **predictions.columns,
    )
    table[["label", "lesion_id"]] = frame[["label", "lesion_id"]]
    title = f"split {selection.split}, {len(frame):,} images"
    size = f"central square, or visible field, at {description.image_size} pixels"
    context = ReportContext(
        title=f"{description.model}: evaluation, {title}",
        facts={
            "Model": f"{name}, {description.origin}",
            "Evaluated on": f"{count_images(frame)}, split {selection.split}",
            "Input": size + (", mean over eight flips and rotations" if settings.tta else ""),
            "Date": datetime.date.today().isoformat(),
            "Command": command_line(),
            "Versions": ", ".join(map(" ".join, installed_versions().items())),
        },
        notes=[NOTICE, *notes],
        names=SUBGROUP_NAMES | class_titles(description.class_names, description.class_titles),
        malignant=description.malignant,
        binary_tasks=binary_task_labels(
            description.malignant, melanoma_class(description.class_names)
        ),
    )
    figures = plot_evaluation(predicted.evaluation, metrics, title=title)
    errors = find_errors(selection, predicted)
    page = build_page(metrics, context, figures=figures, errors=errors)
    # What `python -m app.card` needs besides.
    metrics = metrics | {"facts": dict(context.facts), "notes": notes}
    write_report(output_dir, metrics=metrics, predictions=table, figures=figures, page=page)


def find_errors(selection: Selection, predicted: PredictedImages) -> list[Misclassification]:
    """Return the most confident errors, with their heat maps if the models give them."""
    from data.images import load_image
    from metrics.errors import most_confident_errors
    from metrics.prediction import short_warnings
    from metrics.sections import Misclassification
    from models.heat_map import overlay

    evaluation = predicted.evaluation
    y_prob, class_names = evaluation.y_prob, evaluation.class_names
    errors = []
    for i in most_confident_errors(evaluation.y_true, y_prob, evaluation.lesion_ids):
        row, class_index = predicted.frame.iloc[i], y_prob[i : i + 1].argmax(axis=1)
        classifier = selection.parts[row["part"]][0]
        image, shown = load_image(row["path"], classifier.description.image_size), None
        if classifier.can_explain:
            shown = overlay(image, classifier.explain(image[None], class_index)[0])
        errors.append(
            Misclassification(
                row["image_id"],
                row["label"],
                class_names[class_index[0]],
                float(y_prob[i].max()),
                image,
                shown,
                short_warnings(predicted.predictions.columns, i),
            )
        )
    return errors


if __name__ == "__main__":
    sys.exit(main())
