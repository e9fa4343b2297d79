"""A data set of sixty images, and how the tests read it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from data.ham10000 import CLASS_NAMES
from models.description import Description
from training.dataset import read_labeled_images
from training.settings import build_train_config


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_table(root: Path, write, suffix: str) -> Path:
    """Write 60 images and their table."""
    names = [f"ISIC_{i:07d}" for i in range(60)]
    for i, name in enumerate(names):
        write(root / f"{name}.{suffix}", i)
    table = pd.DataFrame({"image_id": names, "lesion_id": [f"HAM_{i:07d}" for i in range(60)]})
    table["dx"] = [CLASS_NAMES[i % 7] for i in range(60)]
    table.to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


def write_scene(path: Path, number: int, *, quality: int = 95, size: int = 96) -> None:
    """Write an image that is smooth enough to be compressed and scaled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    image.save(path, quality=quality)


def add_copy(root: Path, number: int, *, near: bool = False) -> None:
    """Store an image a second time, under another id and another lesion.

    Args:
        root: of the data set.
        number: of the image.
        near: whether to compress it again, so that its pixels differ.
    """
    original, copy = f"ISIC_{number:07d}", f"ISIC_{number:07d} (1)"
    if near:
        Image.open(root / f"{original}.jpg").save(root / f"{copy}.jpg", quality=60)
    else:
        shutil.copy(root / f"{original}.png", root / f"{copy}.png")
    table = pd.read_csv(root / "HAM10000_metadata.csv")
    row = table[table["image_id"] == original].assign(image_id=copy, lesion_id=f"new {number}")
    pd.concat([table, row]).to_csv(root / "HAM10000_metadata.csv", index=False)


def read(root: Path, **flags) -> pd.DataFrame:
    settings = build_train_config({"model": "sequential", "data_dir": str(root), **flags})
    return read_labeled_images(settings).frame


def describe(frame: pd.DataFrame) -> Description:
    """Return the description of a model trained on a split."""
    from data.fingerprints import pack_hashes

    fields = {}
    for split, name in (("train", "train"), ("val", "validation")):
        rows = frame[frame["split"] == split]
        fields[f"{name}_image_ids"] = tuple(rows["image_id"])
        fields[f"{name}_lesion_ids"] = tuple(rows["lesion_id"])
        fields[f"{name}_patient_ids"] = tuple(rows.get("patient_id", ()))
        fields[f"{name}_pixel_hashes"] = pack_hashes(rows["pixel_hash"])
    return Description(model="none", class_names=CLASS_NAMES, image_size=32, **fields)
