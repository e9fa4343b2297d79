"""Write the model for the phone: python -m app.export MODEL.keras --data_dir D"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import config
from data import DataError
from models import QUANTIZATIONS, ModelError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from models.bundle import Description

PROGRAM = "python -m app.export"
# Training images on which int8 measures the range of every layer, the same number of each class as
# far as there are so many.
CALIBRATION_IMAGES = 210
BATCH_SIZE = 64
# Answers timed for the latency of one image, for each model.
TIMED = 50


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = config.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("model_path", metavar="MODEL.keras", help="the .keras file to convert")
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        default=config.DATA_DIR,
        help="folder with the data that the model was trained on (default: %(default)s)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZATIONS,
        default=QUANTIZATIONS[0],
        help="numbers inside; float16: half the size, int8: a quarter, and whole numbers on the "
        "way (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        metavar="F.tflite",
        help="file to write (default: beside the model, <model>-<quantize>.tflite)",
    )
    args = parser.parse_args(argv)
    model_path = Path(args.model_path)
    if model_path.suffix != ".keras":
        parser.error(f"MODEL.keras should end in .keras, received {args.model_path!r}")
    output = Path(args.output or model_path.with_name(f"{model_path.stem}-{args.quantize}.tflite"))
    if output.suffix != ".tflite":
        parser.error(f"--output must end in .tflite, received {args.output!r}")
    if not output.parent.is_dir():
        parser.error(f"--output should lie in a folder that is there, received {args.output!r}")
    warnings.showwarning = config.show_warning
    try:
        return export(model_path, args.data_dir, args.quantize, output)
    except (DataError, ModelError, OSError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: stopped", file=sys.stderr)
        return 130


def export(model_path: Path, data_dir: str, quantize: str, output: Path) -> int:
    """Load, convert, and compare both files on the validation images."""
    from models.backend import start_tensorflow

    start_tensorflow()

    from metrics.classification import classification_metrics
    from models.bundle import get_description, load_model
    from models.inference import predict_probabilities
    from models.tflite import TFLiteModel, convert

    model = load_model(model_path)
    description = get_description(model)
    names = description.class_names
    frame = read_frame(data_dir, description)
    chosen = select(frame, "val", description)
    examples = None
    if quantize == "int8":
        examples = read_images(choose_examples(select(frame, "train", description)), description)[0]
    convert(model, output, quantize=quantize, images=examples)
    lite = TFLiteModel(output)
    print(
        f"{output}: {quantize}, {output.stat().st_size / 1e6:.2f} MB "
        f"({model_path}: {model_path.stat().st_size / 1e6:.2f} MB)",
        flush=True,
    )

    images, failures = read_images(chosen, description)
    y_true = chosen["label"].map({name: place for place, name in enumerate(names)}).to_numpy()
    y_true = y_true[[place for place in range(len(chosen)) if place not in failures]]
    if len(images) == 0:
        raise DataError(f"none of the {len(chosen)} validation images can be read")
    answers = [
        in_batches(lambda batch, one=one: predict_probabilities(one, batch), images)
        for one in (model, lite)
    ]
    figures = [classification_metrics(y_true, y_prob, names) for y_prob in answers]
    agreement = (answers[0].argmax(axis=1) == answers[1].argmax(axis=1)).mean()
    difference = abs(answers[0] - answers[1]).max()
    one = images[:1]
    took = time_in_turn(
        {
            "the .tflite file": lambda: lite.predict_on_batch(one),
            "predict_on_batch": lambda: model.predict_on_batch(one),
            "model(x)": lambda: model(one, training=False),
            "model.predict": lambda: model.predict(one, verbose=0),
        }
    )
    fastest = took.pop("the .tflite file")
    print(f"\n{len(images)} validation images{'':<17}.keras   .tflite")
    for name in ("accuracy", "balanced_accuracy"):
        keras_figure, lite_figure = (figure[name] for figure in figures)
        print(f"{name.replace('_', ' '):<36}{keras_figure:10.3f}{lite_figure:10.3f}")
    print(f"same most probable class            {agreement:20.1%}")
    print(f"largest difference of a probability {difference:20.2g}")
    print(f"\none image, ms{'':<33}{fastest * 1e3:10.1f}")
    for name, seconds in took.items():
        ratio = f"{seconds / fastest:.1f} times"
        print(f"  Keras, {name:<27}{seconds * 1e3:10.1f}{ratio:>16}")
    return 1 if failures else 0


def read_frame(data_dir: str, description: "Description") -> "pd.DataFrame":
    """Return the labelled images of the folder whose class the model knows."""
    from data.sources import drop_missing, read_dataset

    frame, line = drop_missing(read_dataset(data_dir).frame, data_dir)
    if line:
        print(line, file=sys.stderr)
    return frame[frame["label"].isin(description.class_names)]


def select(frame: "pd.DataFrame", split: str, description: "Description") -> "pd.DataFrame":
    """Return the images of one of the model's own splits."""
    from data.ham10000 import select_split

    try:
        return select_split(
            frame,
            split,
            train_image_ids=description.train_image_ids,
            train_lesion_ids=description.train_lesion_ids,
            validation_image_ids=description.validation_image_ids,
            validation_lesion_ids=description.validation_lesion_ids,
        )
    except DataError as error:
        raise DataError(
            f"--data_dir should hold the data that the model was trained on, but none of its "
            f"{len(frame)} images is in the model's split {split!r}"
        ) from error


def choose_examples(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return training images of all classes, the same ones every time."""
    shuffled = frame.sample(frac=1, random_state=0)
    place = shuffled.groupby("label").cumcount()
    return shuffled.iloc[place.argsort(kind="stable")[:CALIBRATION_IMAGES]]


def read_images(
    frame: "pd.DataFrame", description: "Description"
) -> "tuple[np.ndarray, dict[int, str]]":
    """Decode images as the model sees them; names on stderr those that cannot be read."""
    from data.pipeline import decode_images

    images, failures = decode_images(frame["path"].tolist(), image_size=description.image_size)
    for message in failures.values():
        print(f"left out: {message}", file=sys.stderr)
    return images, failures


def in_batches(predict: "Callable[[np.ndarray], np.ndarray]", images: "np.ndarray") -> "np.ndarray":
    """Return the answers to all images."""
    import numpy as np

    starts = range(0, len(images), BATCH_SIZE)
    return np.concatenate([predict(images[start : start + BATCH_SIZE]) for start in starts])


def time_in_turn(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each, taken in turn so that a drifting machine favours none."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(TIMED + 3):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - started)
    # The first calls trace and compile.
    return {name: statistics.median(times[3:]) for name, times in found.items()}


if __name__ == "__main__":
    config.run(main)
