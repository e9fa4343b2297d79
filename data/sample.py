"""A synthetic data set in the layout of HAM10000, for a first try and for tests.

The images resemble dermatoscopic images at a glance and contain no information about skin: a metric
on them shows that the programs work, not what a model can do.

python -m data.sample --output_dir datasets/sample
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from data import DataError
from data.ham10000 import CLASS_NAMES, SYNTHETIC_LESIONS
from data.lesions import generate_lesion
from data.painting import render_image
from support import cli
from support.files import make_folder, replacing_folder
from support.terminal import Progress

PROG = "python -m data.sample"

_TABLE = "HAM10000_metadata.csv"
_COLUMNS = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
_MEAN_AGES = {"akiec": 66, "bcc": 66, "bkl": 64, "df": 53, "mel": 60, "nv": 46, "vasc": 51}
_CONFIRMED_BY = {  # As in HAM10000, repeated by frequency.
    "bkl": ("histo", "histo", "histo", "consensus", "confocal"),
    "df": ("histo", "consensus"),
    "nv": ("follow_up", "follow_up", "histo", "consensus"),
    "vasc": ("histo", "consensus"),
}
_SITES = {  # Rounded fractions of HAM10000.
    **{"back": 0.22, "lower extremity": 0.21, "trunk": 0.14, "upper extremity": 0.11},
    **{"abdomen": 0.10, "face": 0.07, "chest": 0.04, "foot": 0.03, "unknown": 0.02},
    **{"neck": 0.02, "scalp": 0.01, "hand": 0.01, "ear": 0.01, "genital": 0.005, "acral": 0.005},
}


@dataclasses.dataclass(frozen=True)
class SampleConfig(cli.Settings):
    """Settings of the command."""

    output_dir: str = cli.flag(
        dataclasses.MISSING, "data", "folder to write, new or empty", required=True
    )
    images_per_class: int = cli.flag(
        60, "data", "number of images of each of the seven classes", minimum=1
    )
    seed: int = cli.flag(0, "data", "seed of all randomness", minimum=0)


def write_sample_dataset(
    output_dir: str | os.PathLike,
    *,
    images_per_class: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic data set in the layout of HAM10000, whole or not at all.

    The images of a lesion depend only on the seed, its class and its index, so a larger data set
    contains the images of a smaller one, under other ids.

    Args:
        output_dir: the folder to write; must not exist or be empty.
        images_per_class: number of images of each of the seven classes, at least 1.
        seed: at least 0; equal seeds give equal bytes.
        on_progress: called with the number of images that are written and the total.

    Returns:
        The folder, absolute: `HAM10000_metadata.csv` and two folders of RGB JPEGs, 200 x 150.

    Raises:
        DataError: the folder is not empty, or is a file; or a number is too small.
    """
    for name, value, minimum in (("images_per_class", images_per_class, 1), ("seed", seed, 0)):
        if value < minimum:
            raise DataError(f"{name} should be at least {minimum}, received {value}")
    target = Path(output_dir).resolve()
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise DataError(
            f"expected a new or empty folder, received {target}, which holds something; remove it "
            "or choose another folder"
        )
    frame = _plan_images(images_per_class, seed)
    make_folder(target.parent)
    with replacing_folder(target) as temporary:
        _write_images(frame, temporary, seed, on_progress)
        frame[_COLUMNS].to_csv(temporary / _TABLE, index=False, lineterminator="\n")
    return target


def _make_rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _plan_images(images_per_class: int, seed: int) -> pd.DataFrame:
    """List the images in the order of their ids, with their metadata and the keys of their rngs."""
    rows = []
    for class_index, dx in enumerate(CLASS_NAMES):
        lesion_index, left = 0, images_per_class
        while left:
            rng = _make_rng(seed, class_index, lesion_index, 0)
            count = min(left, int(rng.choice((1, 2, 3), p=(0.75, 0.17, 0.08))))
            patient = _generate_patient(rng, dx)
            for image_index in range(count):
                keys = {"class": class_index, "lesion": lesion_index, "image": image_index}
                rows.append({**keys, "dx": dx, **patient})
            lesion_index, left = lesion_index + 1, left - count
    order = _make_rng(seed, len(CLASS_NAMES)).permutation(len(rows))
    frame = pd.DataFrame([rows[index] for index in order])
    frame["image_id"] = [f"ISIC_{9_000_000 + number}" for number in range(len(frame))]
    lesion_numbers = frame.groupby(["class", "lesion"], sort=False).ngroup()
    frame["lesion_id"] = [f"{SYNTHETIC_LESIONS}{number:06}" for number in lesion_numbers]
    return frame


def _generate_patient(rng: np.random.Generator, dx: str) -> dict[str, str]:
    age = 5 * round(float(np.clip(rng.normal(_MEAN_AGES[dx], 14), 5, 85)) / 5)
    sites = np.array(list(_SITES.values()))
    return {
        "dx_type": str(rng.choice(_CONFIRMED_BY.get(dx, ("histo",)))),
        "age": "" if rng.random() < 0.02 else str(age),
        "sex": str(rng.choice(("male", "female", "unknown"), p=(0.54, 0.45, 0.01))),
        "localization": str(rng.choice(list(_SITES), p=sites / sites.sum())),
    }


def _write_images(
    frame: pd.DataFrame, folder: Path, seed: int, on_progress: Callable[[int, int], None] | None
) -> None:
    parts = [folder / "HAM10000_images_part_1", folder / "HAM10000_images_part_2"]
    for part in parts:
        part.mkdir(parents=True)
    numbers = {image_id: number for number, image_id in enumerate(frame["image_id"])}
    done = 0
    for (class_index, lesion_index), images in frame.groupby(["class", "lesion"]):
        rng = _make_rng(seed, class_index, lesion_index, 1)
        lesion = generate_lesion(rng, CLASS_NAMES[class_index])
        for image_id, image_index in zip(images["image_id"], images["image"], strict=True):
            rng = _make_rng(seed, class_index, lesion_index, 2 + image_index)
            part = parts[2 * numbers[image_id] // len(frame)]
            render_image(rng, lesion).save(part / f"{image_id}.jpg", quality=90)
            done += 1
            if on_progress:
                on_progress(done, len(frame))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROG, lambda: _command(argv))


def _command(argv: list[str] | None) -> int:
    description = "Generate a synthetic data set in the layout of HAM10000."
    settings = cli.parse(SampleConfig, argv, prog=PROG, description=description)
    with cli.naming_flag("--output_dir"):
        folder = write_sample_dataset(
            settings.output_dir,
            images_per_class=settings.images_per_class,
            seed=settings.seed,
            on_progress=Progress("generating").update,
        )
    lesions = pd.read_csv(folder / _TABLE)["lesion_id"]
    print(f"{settings.output_dir}: {len(lesions)} synthetic images of {lesions.nunique()} lesions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
