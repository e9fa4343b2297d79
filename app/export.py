"""Convert a model to TensorFlow Lite, for phones: python -m app.export MODEL.keras"""

import sys
from pathlib import Path

from config import ExportConfig
from models import QUANTIZATIONS
from support import InputError, cli

PROGRAM = "python -m app.export"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROGRAM, lambda: export(parse(argv)))


def parse(argv: list[str] | None) -> ExportConfig:
    """Parse the command line, or exit with code 2."""
    parser = cli.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("model_path", metavar="MODEL.keras", help="the .keras file to convert")
    cli.add_arguments(parser, ExportConfig, choices={"quantize": QUANTIZATIONS})
    try:
        return ExportConfig(**vars(parser.parse_args(argv)))
    except ValueError as error:
        parser.error(str(error))


def export(settings: ExportConfig) -> int:
    """Load and convert the model, then compare both files on the validation images."""
    model_path, output = Path(settings.model_path), choose_output(settings)

    from models.backend import start_tensorflow

    start_tensorflow()

    from app.comparison import format_agreement, format_latencies, predict
    from app.export_images import choose_balanced, read_images, read_labels, select_known
    from data.splits import class_indices
    from models.classifier import load_classifier
    from models.conversion import convert

    keras_file = load_classifier(model_path)
    description = keras_file.description
    names, size = description.class_names, description.image_size
    with cli.naming_flag("--data_dir"):
        frame = read_labels(settings.data_dir, description)
        validation = select_known(frame, "val", description)
        if settings.quantize == "int8":
            train = select_known(frame, "train", description)
    skipped, calibration_images = 0, None
    if settings.quantize == "int8":
        chosen = choose_balanced(train, settings.calibration_images)
        calibration_images, readable = read_images(chosen, size)
        skipped += len(chosen) - len(readable)
    convert(keras_file.model, output, quantize=settings.quantize, images=calibration_images)
    tflite_file = load_classifier(output)
    print(
        f"{output}: {settings.quantize}, {output.stat().st_size / 1e6:.2f} MB "
        f"({model_path}: {model_path.stat().st_size / 1e6:.2f} MB)",
        flush=True,
    )

    images, readable = read_images(validation, size)
    skipped += len(validation) - len(readable)
    keras_prob, tflite_prob = (
        predict(classifier, images, settings.batch_size) for classifier in (keras_file, tflite_file)
    )
    y_true = class_indices(readable["label"], names)
    print(f"\n{format_agreement(y_true, keras_prob, tflite_prob, names)}")
    one, repetitions = images[:1], settings.timed_calls
    print(f"\n{format_latencies(keras_file, tflite_file, one, repetitions=repetitions)}")
    return 1 if skipped else 0


def choose_output(settings: ExportConfig) -> Path:
    """Return the file to write; its folder has to exist."""
    if settings.output is None:
        model_path = Path(settings.model_path)
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
