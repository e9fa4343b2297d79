"""What images are compared by: a hash of their pixels, and a thumbnail."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data import DataError
from data.images import load_pixels
from data.parallel import in_parallel
from data.thumbnails import Thumbnails, collect_thumbnails, make_thumbnail

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


def _hash(pixels: np.ndarray) -> str:
    shape = str(pixels.shape).encode()[:16]
    return hashlib.blake2b(pixels.tobytes(), digest_size=_HASH_BYTES, salt=shape).hexdigest()
