"""Images that are stored more than once, under different names."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from data import DataError
from data.images import WORKERS, load_pixels

# Among ten million images, two different ones share a hash of 64 bits with a probability of 3e-6.
_HASH_BYTES = 8


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

    def hash_pixels(path: str) -> str | None:
        try:
            pixels = load_pixels(path)
        except DataError:
            return None
        return hashlib.blake2b(
            pixels.tobytes(), digest_size=_HASH_BYTES, salt=str(pixels.shape).encode()[:16]
        ).hexdigest()

    hashes: list[str | None] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for value in pool.map(hash_pixels, paths):
            hashes.append(value)
            if on_progress:
                on_progress(len(hashes), len(paths))
    return hashes


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


def group_lesions(lesion_ids: pd.Series, hashes: Sequence[str | None]) -> pd.Series:
    """Join the lesions that have identical images, which must not be separated by a split.

    Args:
        lesion_ids: lesion of each image.
        hashes: of the pixels of each image, None where unknown.

    Returns:
        For each image, the first in alphabetical order of all lesions that its own is connected
        with, under the index of `lesion_ids`.
    """
    group_of = {lesion_id: lesion_id for lesion_id in lesion_ids}

    def find(lesion_id: str) -> str:
        while group_of[lesion_id] != lesion_id:
            lesion_id = group_of[lesion_id]
        return lesion_id

    known = pd.DataFrame({"lesion_id": lesion_ids.to_numpy(), "hash": np.array(hashes, object)})
    for _, lesions in known.dropna().drop_duplicates().groupby("hash")["lesion_id"]:
        groups = sorted({find(lesion_id) for lesion_id in lesions})
        group_of.update(dict.fromkeys(groups, groups[0]))
    return lesion_ids.map(find)
