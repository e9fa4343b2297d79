"""A made-up HAM10000 in HAM10000's own layout, for a first try and for tests.

The pictures are painted by code. They resemble dermatoscopic photographs at a glance and teach
nothing about skin: a score reached on them says that the programs work, not what a model can do.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from data.ham10000 import CLASS_NAMES
from data.painting import paint_lesion, photograph

_AGES = {"akiec": 66, "bcc": 66, "bkl": 64, "df": 53, "mel": 60, "nv": 46, "vasc": 51}
_CONFIRMED_BY = {  # The ways HAM10000 has, repeated by frequency.
    "bkl": ("histo", "histo", "histo", "consensus", "confocal"),
    "df": ("histo", "consensus"),
    "nv": ("follow_up", "follow_up", "histo", "consensus"),
    "vasc": ("histo", "consensus"),
}
_SITES = {  # Rounded shares of HAM10000.
    **{"back": 0.22, "lower extremity": 0.21, "trunk": 0.14, "upper extremity": 0.11},
    **{"abdomen": 0.10, "face": 0.07, "chest": 0.04, "foot": 0.03, "unknown": 0.02},
    **{"neck": 0.02, "scalp": 0.01, "hand": 0.01, "ear": 0.01, "genital": 0.005, "acral": 0.005},
}


def write_sample_dataset(
    output_dir: str | os.PathLike, *, images_per_class: int, seed: int = 0
) -> Path:
    """Write a made-up data set in the layout of HAM10000, whole or not at all.

    A lesion's pictures depend on the seed, its class and its number only, so that a larger data
    set has the pictures of a smaller one, under other ids.

    Args:
        output_dir: the folder to write; must not exist or be empty.
        images_per_class: photographs of each of the seven classes, at least 1.
        seed: at least 0; equal seeds give equal bytes.

    Returns:
        The folder, absolute: `HAM10000_metadata.csv` and two folders of RGB JPEGs, 200 x 150.

    Raises:
        FileExistsError: the folder holds files, or is a file itself.
        ValueError: a number is too small.
    """
    if images_per_class < 1:
        raise ValueError(f"images_per_class must be at least 1, received {images_per_class}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, received {seed}")
    target = Path(output_dir).resolve()
    if target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None):
        raise FileExistsError(
            f"{target} should be a new or empty folder, but it is there and holds something; "
            "remove it or name another"
        )
    # The nearest folder there is: on the target's file system, so that the last step is a rename.
    nearby = next(folder for folder in target.parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=nearby) as workshop:
        draft = Path(workshop, target.name)
        frame = _plan_photographs(images_per_class, seed)
        _write_images(frame, draft, seed)
        columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
        frame[columns].to_csv(draft / "HAM10000_metadata.csv", index=False, lineterminator="\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
        draft.rename(target)
    return target


def _make_rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _plan_photographs(images_per_class: int, seed: int) -> pd.DataFrame:
    """List the photographs in the order of their ids, with their metadata and their keys."""
    rows = []
    for class_index, dx in enumerate(CLASS_NAMES):
        lesion_index, left = 0, images_per_class
        while left:
            rng = _make_rng(seed, class_index, lesion_index, 0)
            shots = min(left, int(rng.choice((1, 2, 3), p=(0.75, 0.17, 0.08))))
            patient = _make_up_patient(rng, dx)
            for shot in range(shots):
                rows.append(
                    {"class_index": class_index, "lesion_index": lesion_index, "shot": shot}
                    | {"dx": dx, **patient}
                )
            lesion_index, left = lesion_index + 1, left - shots
    order = _make_rng(seed, len(CLASS_NAMES)).permutation(len(rows))
    frame = pd.DataFrame([rows[index] for index in order])
    frame["image_id"] = [f"ISIC_{9_000_000 + number}" for number in range(len(frame))]
    lesion_numbers = frame.groupby(["class_index", "lesion_index"], sort=False).ngroup()
    frame["lesion_id"] = [f"HAM_{9_000_000 + number}" for number in lesion_numbers]
    return frame


def _make_up_patient(rng: np.random.Generator, dx: str) -> dict[str, str]:
    age = 5 * round(float(np.clip(rng.normal(_AGES[dx], 14), 5, 85)) / 5)
    sites = np.array(list(_SITES.values()))
    return {
        "dx_type": str(rng.choice(_CONFIRMED_BY.get(dx, ("histo",)))),
        "age": "" if rng.random() < 0.02 else str(age),
        "sex": str(rng.choice(("male", "female", "unknown"), p=(0.54, 0.45, 0.01))),
        "localization": str(rng.choice(list(_SITES), p=sites / sites.sum())),
    }


def _write_images(frame: pd.DataFrame, folder: Path, seed: int) -> None:
    parts = [folder / "HAM10000_images_part_1", folder / "HAM10000_images_part_2"]
    for part in parts:
        part.mkdir(parents=True)
    numbers = {image_id: number for number, image_id in enumerate(frame["image_id"])}
    for (class_index, lesion_index), shots in frame.groupby(["class_index", "lesion_index"]):
        rng = _make_rng(seed, class_index, lesion_index, 1)
        lesion = paint_lesion(rng, CLASS_NAMES[class_index])
        for image_id, shot in zip(shots["image_id"], shots["shot"], strict=True):
            picture = photograph(_make_rng(seed, class_index, lesion_index, 2 + shot), lesion)
            part = parts[2 * numbers[image_id] // len(frame)]
            picture.save(part / f"{image_id}.jpg", quality=90)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = _OneLineParser(
        prog="python -m data.sample",
        description="Make up a data set in HAM10000's layout.",
        allow_abbrev=False,
    )
    parser.add_argument("--output_dir", required=True, help="folder to write, new or empty")
    parser.add_argument(
        "--images_per_class",
        type=int,
        default=60,
        help="photographs of each of the seven classes (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    args = parser.parse_args(argv)
    try:
        folder = write_sample_dataset(
            args.output_dir, images_per_class=args.images_per_class, seed=args.seed
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    lesions = pd.read_csv(folder / "HAM10000_metadata.csv")["lesion_id"]
    print(f"{len(lesions)} made-up images of {lesions.nunique()} lesions are in {args.output_dir}")


if __name__ == "__main__":
    main()
