"""Measure a trained model: python evaluate.py --model_path runs/NAME/model.keras"""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import config
from config import EvaluateConfig, TrainConfig
from data import DataError
from models import ModelError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from models.bundle import Description


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
    from models.backend import start_tensorflow

    start_tensorflow()

    from metrics.classification import classification_metrics
    from metrics.report import format_metrics
    from models.bundle import get_description, load_model

    model = load_model(settings.model_path)
    description = get_description(model)
    frame = select_images(data_dir, settings.split, description)
    print(
        f"{settings.model_path}, split {settings.split}: {len(frame)} images of "
        f"{frame['lesion_id'].nunique()} lesions in {data_dir} (from {reason})",
        flush=True,
    )
    frame, y_prob, unreadable = predict(model, frame, description.image_size, settings.batch_size)
    place_of = {name: place for place, name in enumerate(description.class_names)}
    y_true = frame["label"].map(place_of).to_numpy()
    metrics = classification_metrics(y_true, y_prob, description.class_names)
    output_dir = write(frame, y_true, y_prob, metrics, settings, description.class_names)
    print(
        f"\n{format_metrics(metrics)}\n\nwritten to {output_dir}: metrics.json, predictions.csv, "
        "confusion_matrix.png"
    )
    return 1 if unreadable else 0


def select_images(data_dir: str, split: str, description: "Description") -> "pd.DataFrame":
    """Return the rows of the metadata that have an image and are in the model's split."""
    from data.ham10000 import read_metadata, select_split

    frame = read_metadata(data_dir)
    for image_id in frame.loc[frame["path"].isna(), "image_id"]:
        print(f"left out: {image_id} has no image file in {data_dir}", file=sys.stderr)
    frame = frame[frame["path"].notna()]
    unknown = sorted(set(frame["label"]) - set(description.class_names))
    if unknown:
        raise DataError(
            f"{data_dir} has the diagnoses {', '.join(unknown)}, which the model does not know; "
            f"it knows {', '.join(description.class_names)}"
        )
    return select_split(
        frame,
        split,
        train_image_ids=description.train_image_ids,
        train_lesion_ids=description.train_lesion_ids,
        validation_image_ids=description.validation_image_ids,
        validation_lesion_ids=description.validation_lesion_ids,
    ).reset_index(drop=True)


def predict(
    model: "keras.Model", frame: "pd.DataFrame", image_size: int, batch_size: int
) -> "tuple[pd.DataFrame, np.ndarray, int]":
    """Return the rows whose image can be read, their probabilities, and how many cannot."""
    import numpy as np

    from data.pipeline import iterate_batches
    from models.inference import predict_probabilities

    used, y_prob = [], []
    batches = iterate_batches(frame["path"].tolist(), image_size=image_size, batch_size=batch_size)
    for places, images, failures in batches:
        for message in failures.values():
            print(f"left out: {message}", file=sys.stderr)
        used += places
        y_prob.append(predict_probabilities(model, images))
        config.show_count("evaluating", len(used), len(frame))
    if not used:
        raise DataError(f"none of the {len(frame)} images can be read")
    return frame.iloc[used], np.concatenate(y_prob), len(frame) - len(used)


def write(
    frame: "pd.DataFrame",
    y_true: "np.ndarray",
    y_prob: "np.ndarray",
    metrics: dict,
    settings: EvaluateConfig,
    class_names: tuple[str, ...],
) -> Path:
    """Write the report; returns its folder."""
    from metrics.classification import confusion_counts
    from metrics.plots import plot_confusion_matrix
    from metrics.report import prediction_table, write_report

    beside = Path(settings.model_path).parent / f"evaluation-{settings.split}"
    output_dir = Path(settings.output_dir) if settings.output_dir else beside
    predictions = prediction_table(frame["image_id"].tolist(), y_prob, class_names)
    predictions["label"] = frame["label"].to_numpy()
    predictions["lesion_id"] = frame["lesion_id"].to_numpy()
    title = (
        f"split {settings.split}, {metrics['images']} images\naccuracy {metrics['accuracy']:.3f}, "
        f"balanced accuracy {metrics['balanced_accuracy']:.3f}"
    )
    counts = confusion_counts(y_true, y_prob, len(class_names))
    write_report(
        output_dir,
        metrics=metrics,
        predictions=predictions,
        figures={"confusion_matrix": plot_confusion_matrix(counts, class_names, title=title)},
    )
    return output_dir


if __name__ == "__main__":
    config.run(main)
