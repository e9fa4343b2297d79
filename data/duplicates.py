"""Images that are stored more than once, under different names: python -m data.duplicates"""

import base64
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data import DataError
from data.contact_sheet import write_contact_sheet
from data.folders import find_images, list_folder
from data.images import load_pixels
from data.near_duplicates import Pair, find_near_duplicates
from data.parallel import in_parallel
from data.sources import read_dataset
from data.thumbnails import Thumbnails, collect_thumbnails, make_thumbnail
from support import cli
from support.files import count_noun, csv_cell, make_folder, one_line, replacing
from support.terminal import Progress

PROG = "python -m data.duplicates"
CSV_NAME = "near_duplicates.csv"
SHEET_NAME = "near_duplicates.jpg"

# Among ten million images, two different ones share a hash of 64 bits with a probability of 3e-6.
_HASH_BYTES = 8


@dataclass(frozen=True)
class Fingerprints:
    """What images are compared by.

    Attributes:
        hashes: of the pixels of each image, see `pixel_hashes`.
        thumbnails: of each image, see `data.near_duplicates.find_near_duplicates`.
    """

    hashes: list[str | None]
    thumbnails: Thumbnails


def read_fingerprints(
    paths: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None
) -> Fingerprints:
    """Read each image once, for its hash and its thumbnail.

    Args:
        paths: image files.
        on_progress: called with the number of images that are done and the total.

    Returns:
        The fingerprints; of a file that cannot be read the hash is None.
    """
    hashes = []

    def fingerprint(pixels: np.ndarray) -> tuple[str, np.ndarray]:
        return _hash(pixels), make_thumbnail(pixels)

    def thumbnails() -> Iterator[np.ndarray | None]:
        for found in _read_each(paths, fingerprint, on_progress):
            pixel_hash, thumbnail = found or (None, None)
            hashes.append(pixel_hash)
            yield thumbnail

    return Fingerprints(hashes, collect_thumbnails(thumbnails(), len(paths)))


def pixel_hashes(
    paths: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None
) -> list[str | None]:
    """Return a hash of the pixels of each image, after EXIF rotation.

    An image keeps its hash under another name, with other metadata or in another lossless format;
    compressing it again or scaling it changes the hash.

    Args:
        paths: image files.
        on_progress: called with the number of images that are done and the total.

    Returns:
        A hexadecimal hash for each file, None where it cannot be read.
    """
    return list(_read_each(paths, _hash, on_progress))


def _read_each(
    paths: Sequence[str],
    function: Callable[[np.ndarray], Any],
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Any]:
    """Apply a function to the pixels of each image; None stands for a file that cannot be read."""

    def read(path: str) -> Any:
        try:
            pixels = load_pixels(path)
        except DataError:
            return None
        return function(pixels)

    return in_parallel(read, paths, on_progress)


def pack_hashes(hashes: Iterable[str | None]) -> str:
    """Pack hashes for the description of a model: 11 characters each, where JSON takes 20.

    Args:
        hashes: from `pixel_hashes`; None is left out.

    Returns:
        The different hashes in ascending order, as base64.
    """
    values = sorted({value for value in hashes if value})
    return base64.b64encode(bytes.fromhex("".join(values))).decode("ascii")


def unpack_hashes(text: str) -> set[str]:
    """Return the hashes that `pack_hashes` packed."""
    packed = base64.b64decode(text, validate=True).hex()
    width = 2 * _HASH_BYTES
    return {packed[start : start + width] for start in range(0, len(packed), width)}


def group_lesions(
    lesion_ids: pd.Series,
    hashes: Sequence[str | None],
    *,
    pairs: Iterable[Pair] = (),
    patient_ids: Sequence[str] | None = None,
) -> pd.Series:
    """Join the lesions that must not be separated by a split.

    These have identical images, near-duplicates or the same patient.

    Args:
        lesion_ids: lesion of each image.
        hashes: of the pixels of each image, None where unknown.
        pairs: near-duplicates among the images, by their positions.
        patient_ids: patient of each image, empty where unknown.

    Returns:
        For each image, the first in alphabetical order of all lesions that its own is connected
        with, under the index of `lesion_ids`.
    """
    group_of = {lesion_id: lesion_id for lesion_id in lesion_ids}

    def find(lesion_id: str) -> str:
        while group_of[lesion_id] != lesion_id:
            lesion_id = group_of[lesion_id]
        return lesion_id

    def join(lesions: Iterable[str]) -> None:
        groups = sorted({find(lesion_id) for lesion_id in lesions})
        group_of.update(dict.fromkeys(groups, groups[0]))

    lesions = lesion_ids.to_numpy()
    patients = [patient or None for patient in ([] if patient_ids is None else patient_ids)]
    for values in (hashes, patients or [None] * len(lesions)):
        known = pd.DataFrame({"lesion_id": lesions, "value": np.array(values, object)})
        for _, same in known.dropna().drop_duplicates().groupby("value")["lesion_id"]:
            join(same)
    for pair in pairs:
        join((lesions[pair.first], lesions[pair.second]))
    return lesion_ids.map(find)


def _hash(pixels: np.ndarray) -> str:
    shape = str(pixels.shape).encode()[:16]
    return hashlib.blake2b(pixels.tobytes(), digest_size=_HASH_BYTES, salt=shape).hexdigest()


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
        paths = find_images([folder])
    known = _read_ids(folder)
    ids, lesions = np.transpose([known.get(path, (os.path.basename(path), "")) for path in paths])
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
    return _Images(paths, ids.tolist(), lesions.tolist(), fingerprints), failures


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
