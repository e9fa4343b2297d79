"""Convert a model to TensorFlow Lite, ONNX or a SavedModel: python -m app.export MODEL"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import ExportConfig
from models import EXPORT_FORMATS
from support import InputError, cli
from training.model_paths import choose_data_dir, find_model

if TYPE_CHECKING:
    import keras
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
    cli.add_arguments(parser, ExportConfig)
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

    from app.export_comparison import format_latencies, generate_image
    from app.export_images import choose_balanced, read_images
    from models.backend import check_onnx_converter
    from models.classifier import load_classifier

    if settings.format == "onnx":
        check_onnx_converter("--format onnx")
    keras_file = load_classifier(model_path)
    description = keras_file.description
    train, validation = select_images(settings, model_path, description)
    skipped, calibration_images = 0, None
    if settings.quantize == "int8":
        chosen = choose_balanced(train, settings.calibration_images)
        calibration_images, readable = read_images(chosen, description.image_size)
        skipped += len(chosen) - len(readable)
    exported = write(keras_file.network.model, output, settings, calibration_images)
    print(
        f"{output}: {settings.format}, {settings.quantize}, {count_bytes(output) / 1e6:.2f} MB "
        f"({model_path}: {count_bytes(model_path) / 1e6:.2f} MB)",
        flush=True,
    )
    if validation is None:
        image = generate_image(description.image_size)
    else:
        image, failures = compare(keras_file, exported, validation, settings)
        skipped += failures
    latencies = format_latencies(keras_file, exported, image, repetitions=settings.timed_calls)
    print(f"\n{latencies}")
    return 1 if skipped else 0


def write(
    model: keras.Model, output: Path, settings: ExportConfig, images: np.ndarray | None
) -> Classifier:
    """Write the model in the format asked for; returns what was written, ready to be asked."""
    from models.classifier import Classifier, load_classifier
    from models.onnx_conversion import convert_to_onnx
    from models.saved_model import SavedModel, write_saved_model
    from models.tflite_conversion import convert_to_tflite

    if settings.format == "saved_model":
        with cli.naming_flag("--output"):
            write_saved_model(model, output)
        return Classifier(SavedModel(output, model), output)
    if settings.format == "onnx":
        convert_to_onnx(model, output)
    else:
        convert_to_tflite(model, output, quantize=settings.quantize, images=images)
    return load_classifier(output)


def count_bytes(path: Path) -> int:
    """Return the size of a file, or that of all files in a folder."""
    files = path.glob("**/*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


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
    keras_file: Classifier, exported: Classifier, frame: pd.DataFrame, settings: ExportConfig
) -> tuple[np.ndarray, int]:
    """Print how far the predictions of both files agree.

    Returns:
        The first image as a batch, and the number of those that cannot be read.
    """
    from app.export_comparison import format_agreement, format_warnings, predict
    from app.export_images import read_images
    from data.targets import class_indices

    names = keras_file.description.class_names
    images, readable = read_images(frame, keras_file.description.image_size)
    expected, received = (
        predict(classifier, images, settings.batch_size) for classifier in (keras_file, exported)
    )
    y_true, kind = class_indices(readable["label"], names), exported.network.kind
    print(f"\n{format_agreement(y_true, expected.y_prob, received.y_prob, names, kind=kind)}")
    if warnings := format_warnings(expected, received):
        print(warnings)
    return images[:1], len(frame) - len(readable)


def choose_output(settings: ExportConfig, model_path: Path) -> Path:
    """Return the file or folder to write; the folder that it is in has to exist."""
    if settings.output is None:
        number = {"litert": settings.quantize, "onnx": "", "saved_model": "saved_model"}
        stem = "-".join(filter(None, (model_path.stem, number[settings.format])))
        return model_path.with_name(stem + EXPORT_FORMATS[settings.format])
    output = Path(settings.output)
    if not output.parent.is_dir():
        raise InputError(
            f"--output: expected a file in an existing folder, received {settings.output!r}; "
            f"create the folder {output.parent}"
        )
    return output


if __name__ == "__main__":
    sys.exit(main())
