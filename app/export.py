"""Convert a model to TensorFlow Lite, for phones: python -m app.export MODEL"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from config import ExportConfig
from models import QUANTIZATIONS
from support import InputError, cli
from training.run import choose_data_dir, find_model

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.classifier import Classifier
    from models.description import Description

PROGRAM = "python -m app.export"
NOT_COMPARED = "the predictions of both files were not compared"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROGRAM, lambda: export(parse(argv)))


def parse(argv: list[str] | None) -> ExportConfig:
    """Parse the command line, or exit with code 2."""
    parser = cli.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument(
        "model_path", metavar="MODEL", help="the .keras file to convert, or the folder of a run"
    )
    cli.add_arguments(parser, ExportConfig, choices={"quantize": QUANTIZATIONS})
    try:
        return ExportConfig(**vars(parser.parse_args(argv)))
    except ValueError as error:
        parser.error(str(error))


def export(settings: ExportConfig) -> int:
    """Load and convert the model, then compare both files on the validation images."""
    model_path = find_model(settings.model_path)
    output = choose_output(settings, model_path)

    from models.backend import start_tensorflow

    start_tensorflow()

    from app.comparison import format_latencies, generate_image
    from app.export_images import choose_balanced, read_images
    from models.classifier import load_classifier
    from models.conversion import convert

    keras_file = load_classifier(model_path)
    description = keras_file.description
    train, validation = select_images(settings, model_path, description)
    skipped, calibration_images = 0, None
    if settings.quantize == "int8":
        chosen = choose_balanced(train, settings.calibration_images)
        calibration_images, readable = read_images(chosen, description.image_size)
        skipped += len(chosen) - len(readable)
    convert(keras_file.model, output, quantize=settings.quantize, images=calibration_images)
    tflite_file = load_classifier(output)
    print(
        f"{output}: {settings.quantize}, {output.stat().st_size / 1e6:.2f} MB "
        f"({model_path}: {model_path.stat().st_size / 1e6:.2f} MB)",
        flush=True,
    )
    if validation is None:
        image = generate_image(description.image_size)
    else:
        image, failures = compare(keras_file, tflite_file, validation, settings)
        skipped += failures
    latencies = format_latencies(keras_file, tflite_file, image, repetitions=settings.timed_calls)
    print(f"\n{latencies}")
    return 1 if skipped else 0


def select_images(
    settings: ExportConfig, model_path: Path, description: Description
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Select the train images for int8, and the validation images for the comparison.

    Returns:
        None where they are not needed, or where the default folder of the data is of no use.
    """
    from app.export_images import select_known
    from data.classes import scheme_of_model
    from training.labels import read_labels

    is_default, is_int8 = settings.data_dir is None, settings.quantize == "int8"
    data_dir, origin = choose_data_dir(settings.data_dir, model_path)
    if is_default and not Path(data_dir).exists():
        reason = f"found no images at {data_dir} ({origin})"
        if is_int8:
            raise InputError(
                "--quantize int8 measures the range of each layer on images that the model was "
                f"trained on, but {reason}; give their folder with --data_dir"
            )
        print(f"note: {NOT_COMPARED}: {reason}", file=sys.stderr)
        return None, None
    try:
        with cli.naming_flag("--data_dir"):
            frame, _ = read_labels(data_dir, classes=scheme_of_model(description))
            validation = select_known(frame, "val", description)
            train = select_known(frame, "train", description) if is_int8 else None
    except InputError as error:
        if not is_default or is_int8:
            raise
        print(f"warning: {NOT_COMPARED}: {error}", file=sys.stderr)
        return None, None
    print(f"Data: {data_dir} ({origin})", flush=True)
    return train, validation


def compare(
    keras_file: Classifier, tflite_file: Classifier, frame: pd.DataFrame, settings: ExportConfig
) -> tuple[np.ndarray, int]:
    """Print how far the predictions of both files agree.

    Returns:
        The first image as a batch, and the number of those that cannot be read.
    """
    from app.comparison import format_agreement, predict
    from app.export_images import read_images
    from data.splits import class_indices

    names = keras_file.description.class_names
    images, readable = read_images(frame, keras_file.description.image_size)
    keras_prob, tflite_prob = (
        predict(classifier, images, settings.batch_size) for classifier in (keras_file, tflite_file)
    )
    y_true = class_indices(readable["label"], names)
    print(f"\n{format_agreement(y_true, keras_prob, tflite_prob, names)}")
    return images[:1], len(frame) - len(readable)


def choose_output(settings: ExportConfig, model_path: Path) -> Path:
    """Return the file to write; its folder has to exist."""
    if settings.output is None:
        return model_path.with_name(f"{model_path.stem}-{settings.quantize}.tflite")
    output = Path(settings.output)
    if not output.parent.is_dir():
        raise InputError(
            f"--output: expected a file in an existing folder, received {settings.output!r}; "
            f"create the folder {output.parent}"
        )
    return output


if __name__ == "__main__":
    sys.exit(main())
