"""The images of a training, decoded at the image size of each of its phases."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from config import TrainConfig
from data import DataError
from data.batches import check_images
from data.pipeline import decode_images
from support.terminal import Progress
from training.phases import plan_phases

# Decoded images by split, then by image size.
Images = dict[str, dict[int, np.ndarray]]


def decode(frame: pd.DataFrame, settings: TrainConfig) -> tuple[Images, list[int]]:
    """Decode the images of the train and validation splits at the image sizes of all phases.

    All headers are read first, those of the test images too, so that files that are no images are
    known within seconds. Validation images are decoded as in `evaluate.py`, training images
    somewhat larger.

    Args:
        frame: one row per image.
        settings: of the training.

    Returns:
        The images by split and image size of the phase; and the index labels of unreadable images.

    Raises:
        DataError: no image of a split can be read.
    """
    unreadable = []
    for i, message in check_images(frame["path"].tolist()).items():
        print(f"skipped {message}", file=sys.stderr)
        unreadable.append(frame.index[i])
    readable = frame.drop(index=unreadable)
    images: Images = {"train": {}, "val": {}}
    for image_size in sorted({phase.image_size for phase in plan_phases(settings)}):
        for split, size in (("train", settings.stored_size(image_size)), ("val", image_size)):
            rows = readable.index[readable["split"] == split]
            array, failures = decode_images(
                readable.loc[rows, "path"].tolist(),
                image_size=size,
                store=settings.image_store,
                store_dir=Path(settings.output_dir, "cache"),
                on_progress=Progress(f"decoding {split} images").update,
            )
            images[split][image_size] = array
            file = getattr(array, "filename", None)
            if file and not failures:
                print(f"Decoded {split} images are stored in {file} for later runs.")
            for message in failures.values():
                print(f"skipped {message}", file=sys.stderr)
            failed = [rows[i] for i in failures]
            unreadable += failed
            readable = readable.drop(index=failed)
            if not len(array):
                raise DataError(
                    f"expected readable images in the {split} split of {settings.data_dir}, "
                    "received none; unpack the image archives again"
                )
    # A file that was readable at the first size only would shift all images after it.
    counts = readable["split"].value_counts()
    lengths = {split: {*map(len, images[split].values())} for split in images}
    if any(lengths[split] != {counts[split]} for split in images):
        raise DataError(
            f"images in {settings.data_dir} changed while they were read; start the training again"
        )
    return images, unreadable
