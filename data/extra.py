"""Other data for training only: nothing of them may be in validation or test."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data import DataError
from data.images import load_pixels

if TYPE_CHECKING:
    import pandas as pd

_WORKERS = max(2, os.cpu_count() or 2)


@dataclass(frozen=True)
class Counts:
    """What became of the images of an extra data set.

    Attributes:
        by_id: left out, since the image or its lesion is in validation or test.
        by_pixels: left out, since the same pixels are, under whatever name.
        by_lesion: left out, since they show a lesion of one of these.
        repeated: left out, since training has the image already, by id or by pixels.
        added: learned from.
    """

    by_id: int
    by_pixels: int
    by_lesion: int
    repeated: int
    added: int


def pixel_hashes(paths: Sequence[str]) -> list[str | None]:
    """Return a hash of the pixels of each image, as they are shown.

    The same picture under another name, with other metadata or in another lossless format has the
    same hash; compressed or scaled anew it has another.

    Args:
        paths: image files.

    Returns:
        Hexadecimal, or None for a file that cannot be read.
    """

    def hash_of(path: str) -> str | None:
        try:
            pixels = load_pixels(path)
        except DataError:
            return None
        return hashlib.blake2b(
            pixels.tobytes(), digest_size=16, salt=str(pixels.shape).encode()[:16]
        ).hexdigest()

    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(hash_of, paths))


def add_training_data(
    frame: "pd.DataFrame", extra: "pd.DataFrame"
) -> "tuple[pd.DataFrame, Counts]":
    """Add images to the training split that are neither in validation nor in test.

    Known duplicates of the public collections have other ids: Cassidy et al., *Analysis of the
    ISIC image datasets*, Medical Image Analysis 75 (2022), doi:10.1016/j.media.2021.102305. So
    pixels count as well, and with an image all others of its lesion.

    Args:
        frame: with `image_id`, `lesion_id`, `path` and `split`.
        extra: with `image_id`, `lesion_id` and `path`.

    Returns:
        The frame with the rows of `extra` that may be learned from, and the counts.
    """
    import pandas as pd

    held = frame[frame["split"] != "train"]
    learned = frame[frame["split"] == "train"]
    hashes = pd.Series(pixel_hashes(extra["path"].tolist()), index=extra.index, dtype=object)
    held_hashes, learned_hashes = (
        {value for value in pixel_hashes(part["path"].tolist()) if value}
        for part in (held, learned)
    )
    by_id = extra["image_id"].isin(held["image_id"]) | extra["lesion_id"].isin(held["lesion_id"])
    by_pixels = hashes.isin(held_hashes) & ~by_id
    lesions = extra.loc[by_id | by_pixels, "lesion_id"]
    by_lesion = extra["lesion_id"].isin(lesions) & ~by_id & ~by_pixels
    kept_out = by_id | by_pixels | by_lesion
    repeated = extra["image_id"].isin(learned["image_id"]) | hashes.isin(learned_hashes)
    repeated |= extra["image_id"].duplicated() | (hashes.duplicated() & hashes.notna())
    repeated &= ~kept_out
    added = extra[~kept_out & ~repeated].assign(split="train")
    counts = Counts(
        *(int(part.sum()) for part in (by_id, by_pixels, by_lesion, repeated)), len(added)
    )
    return pd.concat([frame, added], ignore_index=True), counts
