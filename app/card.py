"""Write the measured part of a model card: python -m app.card --model_path runs/NAME"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data.class_names import class_titles
from data.classes import melanoma_class
from data.ham10000 import SUBGROUP_NAMES
from metrics import METRICS_FILE
from metrics.card import CardModel, build_card
from models.checksums import file_checksum
from models.description import SYNTHETIC_WARNING, Description
from models.description_checks import peek_description
from support import InputError, cli
from support.files import first_line, one_line, read_json, write_text
from training.model_paths import find_model
from training.run import Run

PROGRAM = "python -m app.card"
CARD_NAME = "model_card.md"


@dataclass(frozen=True)
class CardConfig(cli.Settings):
    """Settings of the command."""

    model_path: str = cli.flag("", "input", ".keras file, or folder of a run", required=True)
    evaluation: str | None = cli.flag(
        None,
        "input",
        "folder that evaluate.py wrote for the model (default: evaluation-test/ beside it)",
        metavar="DIR",
    )
    output: str | None = cli.flag(
        None,
        "output",
        f"Markdown file to write (default: {CARD_NAME} in that folder)",
        metavar="FILE",
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def command() -> int:
        return write_card(cli.parse(CardConfig, argv, prog=PROGRAM, description=__doc__))

    return cli.run(PROGRAM, command)


def write_card(settings: CardConfig) -> int:
    """Read the description of the model and its metrics, and write the card."""
    with cli.naming_flag("--model_path"):
        path = find_model(settings.model_path)
        description = peek_description(path)
        if description is None:
            raise InputError(f"{path}: expected a .keras file of this project; choose another")
    folder = Path(settings.evaluation or path.parent / "evaluation-test")
    with cli.naming_flag("--evaluation"):
        metrics = read_metrics(folder, path)
    output = Path(settings.output or folder / CARD_NAME)
    write_text(output, build_card(metrics, build_card_model(path, description)))
    print(f"Written to {one_line(str(output))}; its last section lists what only you can add.")
    return 0


def read_metrics(folder: Path, model_path: Path) -> dict:
    """Read the metrics of an evaluation.

    Args:
        folder: that of the evaluation.
        model_path: the model.

    Raises:
        InputError: there are none, they are of another version, or of another model.
    """
    path = folder / METRICS_FILE
    try:
        metrics = read_json(path)
        if not {"facts", "notes", "occlusion", "model_checksums"} <= set(metrics):
            raise ValueError("metrics of an older version")
    except FileNotFoundError as error:
        raise InputError(
            f"expected a folder that evaluate.py wrote, found no {path}; evaluate the model first"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}; evaluate the model again") from error
    if metrics["model_checksums"] != [file_checksum(model_path)]:
        raise InputError(
            f"{path}: expected metrics of {model_path}, received those of another model, or of an "
            "earlier version of the file; evaluate this one"
        )
    return metrics


def build_card_model(path: Path, description: Description) -> CardModel:
    """Return what a card says about a model."""
    names = class_titles(description.class_names, description.class_titles)
    size = description.image_size
    return CardModel(
        title=f"{description.model}, {description.date or 'of unknown date'}",
        facts={
            "file": f"{path.name}, {path.stat().st_size / 1e6:.1f} MB",
            "architecture": description.model,
            "input": "RGB pixels 0..255 of the central square, or of the square inside the visible "
            f"field, {size} x {size}; the model rescales the pixels",
            "output": f"probabilities of {', '.join(description.class_names)}",
            "malignant or premalignant": ", ".join(description.malignant) or "unknown",
            "training": one_line(description.origin),
            "validation": f"{len(description.validation_image_ids):,} images",
        },
        names={name: names.get(name, name) for name in description.class_names},
        malignant=description.malignant,
        melanoma=melanoma_class(description.class_names),
        class_counts=count_classes(path, description),
        sources=description.sources,
        warnings=[
            *([SYNTHETIC_WARNING] if description.synthetic else []),
            description.melanoma_note,
            description.calibration_note,
        ],
        group_names=SUBGROUP_NAMES,
    )


def count_classes(path: Path, description: Description) -> dict[str, dict[str, int]]:
    """Count the images of each class and split, by the table in the run folder of a model.

    Returns:
        Empty if there is no such table beside the model, or not of its training images.

    Raises:
        InputError: the table cannot be read.
    """
    table = Run(path.parent).split
    if not table.is_file():
        return {}
    try:
        frame = pd.read_csv(table, dtype=str, keep_default_na=False)[["split", "label"]]
    except (ValueError, KeyError) as error:  # damaged, or of another program
        reason = first_line(error)
        raise InputError(
            f"{table}: expected the table of a run, received {reason}; copy it again, or remove it"
        ) from error
    if len(frame[frame["split"] == "train"]) != len(description.train_image_ids):
        return {}
    return {
        split: frame.loc[frame["split"] == split, "label"].value_counts().to_dict()
        for split in ("train", "val", "test")
    }


if __name__ == "__main__":
    sys.exit(main())
