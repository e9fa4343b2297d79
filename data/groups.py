"""What counts as one lesion for a bootstrap, also where a data set does not name the lesions.

Without lesion ids, each image counts as its own lesion, and intervals are too narrow. Images that
are identical or near-duplicates show the same lesion in any case.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from data.near_duplicates import Pair


def find_unknown_lesions(frame: pd.DataFrame) -> pd.Series:
    """Tell for which images the lesion is unknown: these have the image id as lesion id.

    Args:
        frame: of a `data.sources.Dataset`; see `data.label_metadata.clean_metadata`.
    """
    return frame["lesion_id"] == frame["image_id"]


def describe_grouping(frame: pd.DataFrame) -> str:
    """Say what the groups of `group_images` are."""
    unknown = find_unknown_lesions(frame)
    if not unknown.any():
        return "lesions"
    if unknown.all():
        return "near-duplicates, as lesions are unknown"
    return "lesions where known, else near-duplicates"


def group_images(
    frame: pd.DataFrame, hashes: Sequence[str | None], pairs: Iterable[Pair]
) -> pd.Series:
    """Group images by lesion, those of unknown lesions by identical pixels and near-duplicates.

    Known lesions are only joined by an image of an unknown one that is a duplicate of both.

    Args:
        frame: with `image_id` and `lesion_id`.
        hashes: of the pixels of each image, None where unknown.
        pairs: near-duplicates, by their indices in the frame.

    Returns:
        The name of a lesion for each image, under the index of the frame.
    """
    unknown = find_unknown_lesions(frame).to_numpy()
    wanted = {value for value, is_unknown in zip(hashes, unknown, strict=True) if is_unknown}
    return group_lesions(
        frame["lesion_id"],
        [value if value in wanted else None for value in hashes],
        pairs=[pair for pair in pairs if unknown[pair.first] or unknown[pair.second]],
    )


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
    for values in [hashes] if patient_ids is None else [hashes, patient_ids]:
        known = pd.DataFrame({"lesion_id": lesions, "value": np.array(values, object)})
        known = known[known["value"].notna() & known["value"].ne("")]
        for _, same in known.drop_duplicates().groupby("value")["lesion_id"]:
            join(same)
    for pair in pairs:
        join((lesions[pair.first], lesions[pair.second]))
    return lesion_ids.map(find)
