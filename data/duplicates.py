"""Images that are stored more than once, under different names."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from data import DataError
from data.images import WORKERS, load_pixels


def pixel_hashes(paths: Sequence[str]) -> list[str | None]:
    """Return a hash of the pixels of each image, after EXIF rotation.

    An image keeps its hash under another name, with other metadata or in another lossless format;
    compressing it again or scaling it changes the hash.

    Args:
        paths: image files.

    Returns:
        A hexadecimal hash for each file, None where it cannot be read.
    """

    def hash_pixels(path: str) -> str | None:
        try:
            pixels = load_pixels(path)
        except DataError:
            return None
        return hashlib.blake2b(
            pixels.tobytes(), digest_size=16, salt=str(pixels.shape).encode()[:16]
        ).hexdigest()

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(hash_pixels, paths))
