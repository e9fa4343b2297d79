"""What counts as one lesion for a bootstrap, also where a data set does not name the lesions.

Without lesion ids, each image counts as its own lesion, and intervals are too narrow. Images that
are identical or near-duplicates show the same lesion in any case.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from data.duplicates import group_lesions
from data.near_duplicates import Pair


def find_unknown_lesions(frame: pd.DataFrame) -> pd.Series:
    """Tell for which images the lesion is unknown: each counts as its own, with the name of it.

    Args:
        frame: of a `data.sources.Dataset`; see `data.tables.fill_lesion_ids`.
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
        pairs: near-duplicates, by their place in the frame.

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
