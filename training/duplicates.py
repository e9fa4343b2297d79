"""Copies and near-duplicates among the images of a data set, and what they say about lesions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from data.fingerprints import Fingerprints, pixel_hashes, read_fingerprints
from data.groups import find_unknown_lesions, group_images
from data.near_duplicates import Pair, find_near_duplicates
from data.thumbnails import Thumbnails
from support.terminal import Progress


def fingerprint_images(frame: pd.DataFrame) -> Fingerprints:
    """Read all images of a frame once, to find copies and near-duplicates."""
    progress = Progress("comparing images")
    return read_fingerprints(frame["path"].tolist(), on_progress=progress.update)


def hash_images(frame: pd.DataFrame) -> pd.DataFrame:
    """Read all images of a frame, and add their `pixel_hash`."""
    progress = Progress("comparing images")
    return with_hashes(frame, pixel_hashes(frame["path"].tolist(), on_progress=progress.update))


def with_hashes(frame: pd.DataFrame, hashes: Sequence[str | None]) -> pd.DataFrame:
    """Add `pixel_hash` to a frame; None where an image cannot be read."""
    return frame.assign(pixel_hash=pd.Series(hashes, index=frame.index, dtype=object))


def search_near_duplicates(thumbnails: Thumbnails, against: Thumbnails | None = None) -> list[Pair]:
    """Find near-duplicates as `data.near_duplicates.find_near_duplicates`, with a progress bar."""
    progress = Progress("searching near-duplicates", unit="steps")
    return find_near_duplicates(thumbnails, against, on_progress=progress.update)


def add_groups(frame: pd.DataFrame) -> pd.DataFrame:
    """Add `group`, what the bootstrap resamples; see `data.groups.group_images`.

    Where lesions are unknown, all images are read for it, which adds their `pixel_hash`, too.

    Args:
        frame: with `image_id`, `lesion_id` and `path`.
    """
    if not find_unknown_lesions(frame).any():
        return frame.assign(group=frame["lesion_id"])
    fingerprints = fingerprint_images(frame)
    pairs = search_near_duplicates(fingerprints.thumbnails)
    groups = group_images(frame, fingerprints.hashes, pairs)
    return with_hashes(frame, fingerprints.hashes).assign(group=groups)
