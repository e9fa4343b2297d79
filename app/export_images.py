"""The images that an export needs: for the comparison and for the calibration of int8."""

import sys

import numpy as np
import pandas as pd

from data import DataError
from data.pipeline import decode_images
from data.splits import select_split
from models.description import Description


def select_known(frame: pd.DataFrame, split: str, description: Description) -> pd.DataFrame:
    """Select the images of one split of the model, `train` or `val`, whose class it predicts.

    Raises:
        DataError: there are none.
    """
    try:
        selected = select_split(frame, split, description)
    except DataError as error:
        raise DataError(
            f"expected the data that the model was trained on, received {len(frame)} images of "
            f"which none is in the model's split {split!r}"
        ) from error
    return selected[selected["label"].isin(description.class_names)]


def choose_balanced(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose images, as many of each class where there are enough; always the same ones."""
    shuffled = frame.sample(frac=1, random_state=0)
    index_in_class = shuffled.groupby("label").cumcount()
    return shuffled.iloc[index_in_class.argsort(kind="stable")[:count]]


def read_images(frame: pd.DataFrame, image_size: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Decode images, and name on stderr those that cannot be read.

    Returns:
        uint8 `[images, image_size, image_size, 3]`, and their rows of the frame.

    Raises:
        DataError: none can be read.
    """
    images, failures = decode_images(frame["path"].tolist(), image_size=image_size)
    for message in failures.values():
        print(f"skipped {message}", file=sys.stderr)
    if len(failures) == len(frame):
        raise DataError(f"expected readable images, but none of the {len(frame)} can be read")
    return images, frame.iloc[[i for i in range(len(frame)) if i not in failures]]
