"""A synthetic data set of any size in the layout of HAM10000, written in a few minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from data.parallel import in_parallel
from support.terminal import Progress

# As many images of each class, per thousand, as HAM10000 has.
_CLASSES = {"nv": 669, "mel": 111, "bkl": 110, "bcc": 51, "akiec": 33, "vasc": 14, "df": 12}
# Every fourth image shows the lesion of the one before it, as every fourth of HAM10000 does.
_EXPOSURES = 4
_SIZE = (200, 150)
_SKIN = np.array([200, 150, 140], np.float32)


def grow(folder: Path, start: int, stop: int) -> None:
    """Write the images from `start` to `stop`, and the table of all up to `stop`.

    Args:
        folder: of the data set, with the images before `start`.
        start: index of the first image to write.
        stop: index after the last one.
    """
    images = folder / f"images_from_{start}"
    images.mkdir()

    def write(index: int) -> None:
        _render(index).save(images / f"{_name(index)}.jpg", quality=90)

    for _ in in_parallel(write, range(start, stop), Progress("generating").update):
        pass
    lesions = [_lesion(index) for index in range(stop)]
    labels = np.repeat(list(_CLASSES), list(_CLASSES.values()))
    table = pd.DataFrame(
        {
            "lesion_id": [f"HAM_{lesion:07}" for lesion in lesions],
            "image_id": [_name(index) for index in range(stop)],
            "dx": [labels[_rng(lesion, 0).integers(len(labels))] for lesion in lesions],
        }
    )
    table.to_csv(folder / "HAM10000_metadata.csv", index=False)


def _render(index: int) -> Image.Image:
    """Return an image of random texture; the second one of a lesion is mirrored and brighter."""
    lesion = _lesion(index)
    rng = _rng(lesion, 1)
    pixels = np.zeros((_SIZE[1], _SIZE[0], 3), np.float32) + _SKIN
    for cells, levels in ((5, 60), (20, 25), (60, 10)):
        noise = rng.integers(0, 256, (cells * 3 // 4, cells, 3), np.uint8)
        scaled = Image.fromarray(noise).resize(_SIZE, Image.Resampling.BICUBIC)
        pixels += levels * (np.asarray(scaled, np.float32) / 127.5 - 1)
    if index == lesion:
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    brighter = np.clip(1.1 * pixels, 0, 255).astype(np.uint8)
    return ImageOps.mirror(Image.fromarray(brighter))


def _lesion(index: int) -> int:
    return index - (index % _EXPOSURES == _EXPOSURES - 1)


def _name(index: int) -> str:
    return f"ISIC_{index:07}"


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)
