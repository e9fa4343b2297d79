"""Measure a trained model: python evaluate.py --model_path runs/NAME/model.keras"""

import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import config
from config import EvaluateConfig, TrainConfig
from data import DataError
from models import ModelError, is_out_of_memory

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from metrics.page import Mistake
    from models.bundle import Description
    from models.tflite import TFLiteModel

# Mistakes shown in the report.
GALLERY = 12
NO_HEAT_MAPS = "a .tflite file gives none; the .keras file of the model does"


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    parser = config.ArgumentParser(prog="evaluate.py", description=__doc__)
    config.add_arguments(parser, EvaluateConfig)
    args = parser.parse_args(argv)
    try:
        settings = config.from_args(EvaluateConfig, args)
        data_dir, reason = choose_data_dir(settings)
    except ValueError as error:
        parser.error(str(error))
    warnings.showwarning = config.show_warning
    try:
        return evaluate(settings, data_dir, reason)
    except (DataError, ModelError, OSError) as error:
        print(f"evaluate.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nevaluate.py: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print("evaluate.py: error: out of memory: lower --batch_size", file=sys.stderr)
        return 2


def choose_data_dir(settings: EvaluateConfig) -> tuple[str, str]:
    """Return the data folder and where its name comes from.

    Raises:
        ValueError: the config.json beside the model is no configuration.
    """
    if settings.data_dir is not None:
        return settings.data_dir, "--data_dir"
    beside = Path(settings.model_path).parent / "config.json"
    if beside.is_file():
        try:
            return config.load(TrainConfig, beside).data_dir, str(beside)
        except ValueError as error:
            raise ValueError(f"{error}; name the data folder with --data_dir") from error
    return config.DATA_DIR, "config.py, for want of a config.json beside the model"


def evaluate(settings: EvaluateConfig, data_dir: str, reason: str) -> int:
    """Load the model, select its split, predict, measure, write."""
    started = time.monotonic()
    from models.backend import start_tensorflow

    start_tensorflow()

    from metrics.report import format_metrics
    from models.bundle import get_description
    from models.tflite import TFLiteModel, open_model

    model = open_model(settings.model_path)
    description = get_description(model)
    frame = select_images(data_dir, settings.split, description)
    print(
        f"{settings.model_path}, split {settings.split}: {len(frame)} images of "
        f"{frame['lesion_id'].nunique()} lesions in {data_dir} (from {reason})",
        flush=True,
    )
    if description.temperature == 1.0:
        print(
            "temperature 1: this model was not calibrated, its training was stopped or predates it"
        )
    if isinstance(model, TFLiteModel):
        print(f"without heat maps: {NO_HEAT_MAPS}")
    output_dir = make_output_dir(settings)
    ready = time.monotonic()
    answers, unreadable = predict(model, frame, data_dir, settings)
    predicted = time.monotonic()
    metrics = measure(answers, description)
    write(model, answers, metrics, settings, description, output_dir)
    done = time.monotonic()
    print(
        f"\n{format_metrics(metrics)}\n\nstart {ready - started:.0f} s, inference "
        f"{predicted - ready:.0f} s, figures and report {done - predicted:.0f} s\n"
        f"written to {output_dir}: report.html, metrics.json, predictions.csv, plots"
    )
    return 1 if unreadable else 0


def select_images(data_dir: str, split: str, description: "Description") -> "pd.DataFrame":
    """Return the rows of the metadata that have an image and are in the model's split."""
    from data.ham10000 import select_split
    from data.sources import drop_missing, read_dataset

    dataset = read_dataset(data_dir)
    print(f"{data_dir}: {dataset.layout}", *dataset.notes, sep="\n  ")
    frame, line = drop_missing(dataset.frame, data_dir)
    if line:
        print(line, file=sys.stderr)
    unknown = sorted(set(frame["label"]) - set(description.class_names))
    if unknown:
        raise DataError(
            f"{data_dir} has the diagnoses {', '.join(unknown)}, which the model does not know; "
            f"it knows {', '.join(description.class_names)}"
        )
    chosen = select_split(
        frame,
        split,
        train_image_ids=description.train_image_ids,
        train_lesion_ids=description.train_lesion_ids,
        validation_image_ids=description.validation_image_ids,
        validation_lesion_ids=description.validation_lesion_ids,
    ).reset_index(drop=True)
    if split == "all" and (known := count_known(chosen, description)):
        print(f"warning: {note_on_known(known, len(chosen))}", file=sys.stderr)
    return chosen


def make_output_dir(settings: EvaluateConfig) -> Path:
    """Make the folder of the results now, and not when all is done; returns it.

    Raises:
        DataError: it cannot be written.
    """
    beside = Path(settings.model_path).parent / f"evaluation-{settings.split}"
    folder = Path(settings.output_dir) if settings.output_dir else beside
    if reason := config.make_folder(folder):
        raise DataError(f"{folder} cannot be written ({reason}); name another with --output_dir")
    return folder


def count_known(frame: "pd.DataFrame", description: "Description") -> int:
    """Return how many images took part in training, or show a lesion that did."""
    images = {*description.train_image_ids, *description.validation_image_ids}
    lesions = {*description.train_lesion_ids, *description.validation_lesion_ids}
    return int((frame["image_id"].isin(images) | frame["lesion_id"].isin(lesions)).sum())


def note_on_known(known: int, total: int) -> str:
    """Say what images that the model knows do to its figures."""
    return (
        f"{known:,} of these {total:,} images, or others of their lesions, took part in training "
        "or in choosing the model: the figures flatter it"
    )


@dataclass(frozen=True)
class Answers:
    """What the model said about the images that could be read.

    Attributes:
        frame: their rows.
        y_true: int `[images]`.
        y_prob: float `[images, classes]`, as the model gives them.
        before: the same without the model's temperature.
        pointing: from `metrics.localization.pointing_game`; None without masks.
    """

    frame: "pd.DataFrame"
    y_true: "np.ndarray"
    y_prob: "np.ndarray"
    before: "np.ndarray"
    pointing: dict | None


def predict(
    model: "keras.Model | TFLiteModel",
    frame: "pd.DataFrame",
    data_dir: str,
    settings: EvaluateConfig,
) -> tuple[Answers, int]:
    """Predict all images and, where there are masks, compare heat maps with them; returns the
    answers, and how many images cannot be read."""
    import numpy as np

    from data.ham10000 import find_masks
    from data.pipeline import iterate_batches
    from metrics.localization import compare_with_masks, pointing_game
    from models.bundle import get_description
    from models.calibration import at_temperature_one
    from models.grad_cam import Explainer
    from models.inference import predict_views
    from models.tflite import TFLiteModel

    description = get_description(model)
    side = description.image_size
    masks = {} if isinstance(model, TFLiteModel) else find_masks(data_dir)
    explain = Explainer(model) if masks else None
    used, y_prob, before, compared = [], [], [], []
    batches = iterate_batches(
        frame["path"].tolist(), image_size=side, batch_size=settings.batch_size
    )
    for places, images, failures in batches:
        for message in failures.values():
            print(f"left out: {message}", file=sys.stderr)
        used += places
        views = predict_views(model, images, tta=settings.tta)
        y_prob.append(views.mean(axis=0))
        before.append(at_temperature_one(views, description.temperature).mean(axis=0))
        chosen, outlines = load_masks(frame["image_id"].iloc[places], masks, side)
        if chosen:
            heat = explain(images[chosen], y_prob[-1][chosen].argmax(axis=1))
            compared.append(compare_with_masks(heat, np.stack(outlines)))
        config.show_count("evaluating", len(used), len(frame))
    if not used:
        raise DataError(f"none of the {len(frame)} images can be read")
    rows = frame.iloc[used]
    place_of = {name: place for place, name in enumerate(description.class_names)}
    answers = Answers(
        frame=rows,
        y_true=rows["label"].map(place_of).to_numpy(),
        y_prob=np.concatenate(y_prob),
        before=np.concatenate(before),
        pointing=pointing_game(np.concatenate(compared)) if compared else None,
    )
    return answers, len(frame) - len(used)


def load_masks(
    image_ids: "pd.Series", masks: dict[str, str], image_size: int
) -> "tuple[list[int], list[np.ndarray]]":
    """Return the places of the images that have a readable mask, and the masks."""
    from data.images import load_mask

    places, outlines = [], []
    for place, image_id in enumerate(image_ids):
        if image_id not in masks:
            continue
        try:
            outlines.append(load_mask(masks[image_id], image_size))
            places.append(place)
        except DataError as error:
            print(f"left out of the pointing game: {error}", file=sys.stderr)
    return places, outlines


def measure(answers: Answers, description: "Description") -> dict:
    """Return what `metrics.json` holds."""
    import numpy as np

    from data.ham10000 import MALIGNANT
    from data.subgroups import subgroup_columns
    from metrics.calibration import calibration_metrics
    from metrics.classification import classification_metrics, subgroup_metrics

    frame, y_true, y_prob = answers.frame, answers.y_true, answers.y_prob
    names = description.class_names
    lesions = frame["lesion_id"].to_numpy()
    metrics = classification_metrics(
        y_true,
        y_prob,
        names,
        questions={"malignant": MALIGNANT, "melanoma": ("mel",)},
        groups=lesions,
    )
    answered = np.bincount(y_prob.argmax(axis=1), minlength=len(names)) / len(y_true)
    metrics["calibration"] = {
        "temperature": description.temperature,
        "before": calibration_metrics(y_true, answers.before),
        "after": calibration_metrics(y_true, y_prob),
        "class_shares": {
            name: {
                "true": float((y_true == place).mean()),
                "predicted": float(y_prob[:, place].mean()),
                "answered": float(answered[place]),
            }
            for place, name in enumerate(names)
        },
    }
    metrics["subgroups"] = subgroup_metrics(
        y_true,
        y_prob,
        names,
        malignant=MALIGNANT,
        columns=subgroup_columns(frame),
        groups=lesions,
    )
    metrics["pointing_game"] = answers.pointing
    return metrics


def write(
    model: "keras.Model | TFLiteModel",
    answers: Answers,
    metrics: dict,
    settings: EvaluateConfig,
    description: "Description",
    output_dir: Path,
) -> None:
    """Write the report."""
    from data.ham10000 import DIAGNOSES
    from data.subgroups import SUBGROUP_NAMES
    from metrics.calibration import reliability
    from metrics.classification import confusion_counts
    from metrics.page import build_page
    from metrics.plots import plot_confusion_matrix, plot_reliability, plot_roc
    from metrics.report import prediction_table, write_report

    frame, y_true, y_prob = answers.frame, answers.y_true, answers.y_prob
    names, calibration = description.class_names, metrics["calibration"]
    predictions = prediction_table(frame["image_id"].tolist(), y_prob, names)
    predictions["label"] = frame["label"].to_numpy()
    predictions["lesion_id"] = frame["lesion_id"].to_numpy()
    about = f"split {settings.split}, {metrics['images']} images"
    panels, errors = {}, {}
    shown_as = {f"temperature {description.temperature:.2f}": ("after", y_prob)}
    if description.temperature != 1:
        shown_as = {"temperature 1": ("before", answers.before)} | shown_as
    for name, (key, shown) in shown_as.items():
        panels[name] = reliability(y_true, shown)
        errors[name] = calibration[key]["expected_calibration_error"]
    figures = {
        "confusion_matrix": plot_confusion_matrix(
            confusion_counts(y_true, y_prob, len(names)),
            names,
            title=f"{about}\naccuracy {metrics['accuracy']:.3f}, balanced accuracy "
            f"{metrics['balanced_accuracy']:.3f}",
        ),
        "roc": plot_roc(y_true, y_prob, names, title=about),
        "reliability": plot_reliability(panels, errors, title=about),
    }
    page = build_page(
        metrics,
        title=f"{description.model}: evaluation on {about}",
        facts={
            "model": settings.model_path,
            "learned from": f"{len(description.train_image_ids):,} images of "
            f"{len(description.train_lesion_ids):,} lesions",
            "measured on": f"{len(frame):,} images of {frame['lesion_id'].nunique():,} lesions, "
            f"split {settings.split}",
            "input": f"{description.image_size} x {description.image_size} pixels, central square"
            + (", mean over eight flips and turns" if settings.tta else ""),
        },
        notes=notes_on(settings, model, description, frame),
        names={**DIAGNOSES, **SUBGROUP_NAMES},
        figures=figures,
        mistakes=find_mistakes(model, answers, description),
    )
    write_report(output_dir, metrics=metrics, predictions=predictions, figures=figures, page=page)


def notes_on(
    settings: EvaluateConfig,
    model: "keras.Model | TFLiteModel",
    description: "Description",
    frame: "pd.DataFrame",
) -> list[str]:
    """Return what a reader of the report must know first."""
    from models.tflite import TFLiteModel

    notes = ["For research and teaching only: no medical device, no medical advice."]
    if known := count_known(frame, description):
        notes.append(note_on_known(known, len(frame)) + ".")
    if description.temperature == 1.0:
        notes.append("The model's probabilities were not calibrated (temperature 1).")
    if isinstance(model, TFLiteModel):
        notes.append(f"Without heat maps: {NO_HEAT_MAPS}.")
    return notes


def find_mistakes(
    model: "keras.Model | TFLiteModel", answers: Answers, description: "Description"
) -> "list[Mistake]":
    """Return the most confident mistakes, one of a lesion, from a Keras model with heat maps."""
    import numpy as np

    from data.images import load_image
    from metrics.page import Mistake
    from models.grad_cam import grad_cam, overlay
    from models.tflite import TFLiteModel

    y_pred, confidence = answers.y_prob.argmax(axis=1), answers.y_prob.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = answers.frame.iloc[order[(y_pred != answers.y_true)[order]]]
    rows = wrong.drop_duplicates("lesion_id").head(GALLERY)
    if rows.empty:
        return []
    places = answers.frame.index.get_indexer(rows.index)
    pictures = np.stack([load_image(path, description.image_size) for path in rows["path"]])
    explained = [None] * len(rows)
    if not isinstance(model, TFLiteModel):
        heat = grad_cam(model, pictures, y_pred[places])
        explained = map(overlay, pictures, heat)
    return [
        Mistake(
            image_id=image_id,
            true=label,
            predicted=description.class_names[y_pred[place]],
            confidence=float(confidence[place]),
            picture=picture,
            explained=shown,
        )
        for image_id, label, place, picture, shown in zip(
            rows["image_id"], rows["label"], places, pictures, explained, strict=True
        )
    ]


if __name__ == "__main__":
    config.run(main)
