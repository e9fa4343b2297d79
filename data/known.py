"""Which images a model knows: those it was trained or validated on, and others of their lesions."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from data import DataError
from data.fingerprints import unpack_hashes

PARTS = ("train", "validation")


class KnownImages(Protocol):
    """The images that a model was trained and validated on, such as its description."""

    train_image_ids: Collection[str]
    train_lesion_ids: Collection[str]
    train_patient_ids: Collection[str]
    train_pixel_hashes: str
    validation_image_ids: Collection[str]
    validation_lesion_ids: Collection[str]
    validation_patient_ids: Collection[str]
    validation_pixel_hashes: str


@dataclass(frozen=True)
class Excluded:
    """Images that are no test images of a model, besides those that it knows by their ids.

    Attributes:
        by_patient: of a patient that the model knows.
        by_pixels: with the pixels of an image that it knows.
        by_near_duplicates: near-duplicates of an image that it knows.
        by_lesion: in one group with one of these.
    """

    by_patient: int
    by_pixels: int
    by_near_duplicates: int
    by_lesion: int


def match_ids(ids: pd.Series, known: Iterable[str]) -> pd.Series:
    """Tell which ids are among others, without regard to case, as for file names on many systems.

    Args:
        ids: of images, lesions or patients.
        known: the others; an empty id is never among them.
    """
    return ids.str.casefold().isin({value.casefold() for value in known} - {""})


def find_known(
    frame: pd.DataFrame, known: KnownImages, parts: Sequence[str] = PARTS
) -> dict[str, pd.Series]:
    """Find the images that a model knows, or whose lesion or patient it knows.

    Args:
        frame: with `image_id` and `lesion_id`, and perhaps `patient_id` and `pixel_hash`.
        known: what the model knows.
        parts: of `train` and `validation`, in which it should know them.

    Returns:
        A bool for each row by `id` (of the image or its lesion), `patient` and `pixels`, the latter
        two only if the frame has them.
    """

    def ids(name: str) -> list[str]:
        return [value for part in parts for value in getattr(known, f"{part}_{name}_ids")]

    found = {
        "id": match_ids(frame["image_id"], ids("image"))
        | match_ids(frame["lesion_id"], ids("lesion"))
    }
    if "patient_id" in frame:
        found["patient"] = match_ids(frame["patient_id"], ids("patient"))
    if "pixel_hash" in frame:
        packed = [getattr(known, f"{part}_pixel_hashes") for part in parts]
        found["pixels"] = frame["pixel_hash"].isin(set().union(*map(unpack_hashes, packed)))
    return found


def is_known(frame: pd.DataFrame, known: KnownImages, parts: Sequence[str] = PARTS) -> pd.Series:
    """Tell for each image whether a model knows it in any way; see `find_known`."""
    return pd.concat(find_known(frame, known, parts), axis=1).any(axis=1)


def exclude_known(
    frame: pd.DataFrame, known: KnownImages, near_duplicates: Collection[int] = ()
) -> tuple[pd.DataFrame, Excluded]:
    """Exclude what a model knows: images, lesions, patients, copies, near-duplicates.

    Args:
        frame: with `image_id`, `lesion_id`, `pixel_hash`, `group`, and perhaps `patient_id`; no
            index label twice.
        known: what the model knows.
        near_duplicates: index labels of the images that show the same as one that it knows.

    Returns:
        The other rows; and how many were excluded that the model does not know by their ids.

    Raises:
        DataError: nothing is left.
    """
    found = find_known(frame, known)
    found["near"] = frame.index.to_series().isin(near_duplicates)
    groups = frame["group"]
    found["lesion"] = groups.isin(groups[pd.concat(found, axis=1).any(axis=1)])
    counts, seen = {}, pd.Series(False, index=frame.index)
    for reason, rows in found.items():
        counts[reason] = int((rows & ~seen).sum())
        seen |= rows
    if seen.all():
        raise DataError(
            f"expected images that the model does not know, received {len(frame):,} that it was "
            "trained or validated on, or copies of these, or images of the same lesions or "
            "patients; choose the split 'all' for every image"
        )
    excluded = Excluded(
        counts.get("patient", 0), counts["pixels"], counts["near"], counts["lesion"]
    )
    return frame[~seen], excluded


def keep_apart(frame: pd.DataFrame, known: KnownImages) -> tuple[pd.Series, int, int]:
    """Change a split so that it suits a model that goes on from one with images of its own.

    Images that the first model was trained on can neither validate nor test the second, and those
    that it was validated on cannot test it. They move with their whole group.

    Args:
        frame: with `image_id`, `lesion_id`, `group` and `split`, and perhaps `patient_id` and
            `pixel_hash`.
        known: what the first model knows.

    Returns:
        The new split of each image; how many moved to training, and how many from test to
        validation.
    """
    groups, split = frame["group"], frame["split"]
    trained, validated = (
        groups.isin(groups[is_known(frame, known, parts=(part,))]) for part in PARTS
    )
    to_train = trained & (split != "train")
    to_validation = validated & ~trained & (split == "test")
    split = split.mask(to_train, "train").mask(to_validation, "val")
    return split, int(to_train.sum()), int(to_validation.sum())


def count_known(frame: pd.DataFrame, known: KnownImages) -> int:
    """Count the images that a model was trained or validated on, or whose lesion or patient it was.

    Args:
        frame: with `image_id` and `lesion_id`, and perhaps `patient_id` and `pixel_hash`.
        known: what the model knows.
    """
    return int(is_known(frame, known).sum())
