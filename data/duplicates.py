"""Images that are stored more than once, under different names: python -m data.duplicates"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data import DataError
from data.contact_sheet import write_contact_sheet
from data.fingerprints import Fingerprints, read_fingerprints
from data.folders import find_images, list_folder
from data.images import load_pixels
from data.near_duplicates import find_near_duplicates
from data.sources import read_dataset
from support import cli
from support.files import count_noun, csv_cell, make_folder, one_line, replacing
from support.terminal import Progress

PROG = "python -m data.duplicates"
CSV_NAME = "near_duplicates.csv"
SHEET_NAME = "near_duplicates.jpg"


@dataclass(frozen=True)
class DuplicatesConfig(cli.Settings):
    """Settings of the command."""

    data_dir: str = cli.flag("", "data", "folder of images", required=True)
    against: str | None = cli.flag(
        None, "data", "folder of images to compare them with, instead of with each other"
    )
    output_dir: str = cli.flag(".", "data", f"folder for {CSV_NAME} and {SHEET_NAME}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROG, lambda: _command(argv))


def _command(argv: list[str] | None) -> int:
    description = "Find images that show the same lesion although their files differ."
    settings = cli.parse(DuplicatesConfig, argv, prog=PROG, description=description)
    first, failures = _read_folder(settings.data_dir, "--data_dir")
    other = first
    if settings.against is not None:
        other, more = _read_folder(settings.against, "--against")
        failures += more
    against = None if other is first else other.fingerprints.thumbnails
    progress = Progress("searching near-duplicates", unit="steps")
    pairs = find_near_duplicates(
        first.fingerprints.thumbnails, against, on_progress=progress.update
    )
    lines = []
    for pair in pairs:
        ids = first.ids[pair.first], other.ids[pair.second]
        lesions = first.lesions[pair.first], other.lesions[pair.second]
        of = f", lesions {lesions[0]} and {lesions[1]}" if all(lesions) else ""
        lines.append(one_line(f"{ids[0]} and {ids[1]}{of}: {pair.similarity:.2f}"))
        print(lines[-1])
    folder = make_folder(settings.output_dir)
    table = pd.DataFrame(
        {
            "image_1": [first.ids[pair.first] for pair in pairs],
            "image_2": [other.ids[pair.second] for pair in pairs],
            "lesion_1": [first.lesions[pair.first] for pair in pairs],
            "lesion_2": [other.lesions[pair.second] for pair in pairs],
        }
    ).map(csv_cell)
    table["similarity"] = [pair.similarity for pair in pairs]
    with replacing(folder / CSV_NAME) as part:
        table.to_csv(part, index=False)
    files = [(first.paths[pair.first], other.paths[pair.second]) for pair in pairs]
    write_contact_sheet(folder / SHEET_NAME, files, lines)
    across = int((table["lesion_1"] != table["lesion_2"]).sum())
    of_lesions = f", {across:,} of different lesion ids" if table["lesion_1"].any() else ""
    print(
        f"{count_noun(len(pairs), 'pair')} of near-duplicates{of_lesions}: {folder / CSV_NAME}, "
        f"{folder / SHEET_NAME}"
    )
    return 1 if failures else 0


@dataclass(frozen=True)
class _Images:
    """The images of a folder; the lesions are empty where unknown."""

    paths: list[str]
    ids: list[str]
    lesions: list[str]
    fingerprints: Fingerprints


def _read_folder(folder: str, name: str) -> tuple[_Images, int]:
    """Return the images of a folder and how many could not be read, each named on stderr."""
    with cli.naming_flag(name):
        if not os.path.isdir(folder):
            raise DataError(f"expected a folder of images, received {folder}; correct the path")
        paths = find_images([Path(folder)])
    known = _read_ids(folder)
    found = [known.get(path, (os.path.basename(path), "")) for path in paths]
    ids, lesions = [image for image, _ in found], [lesion for _, lesion in found]
    progress = Progress(f"reading {folder}")
    fingerprints = read_fingerprints(paths, on_progress=progress.update)
    failures = 0
    for path, value in zip(paths, fingerprints.hashes, strict=True):
        if value is None:
            failures += 1
            try:
                load_pixels(path)
            except DataError as error:
                print(one_line(f"skipped {error}"), file=sys.stderr)
    return _Images(paths, ids, lesions, fingerprints), failures


def _read_ids(folder: str) -> dict[str, tuple[str, str]]:
    """Return the ids of image and lesion, by path, of the labeled images of a folder."""
    try:
        frame = read_dataset(folder, classes=None).frame.dropna(subset=["path"])
    except DataError as error:
        if list_folder(folder).tables:
            print(one_line(f"note: no ids of lesions: {error}"), file=sys.stderr)
        return {}
    ids = zip(frame["image_id"], frame["lesion_id"].fillna(""), strict=True)
    return dict(zip(frame["path"], ids, strict=True))


if __name__ == "__main__":
    sys.exit(main())
