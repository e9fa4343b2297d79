"""One folder of images per class."""

import os
import unicodedata
from pathlib import Path

import pandas as pd

from data.folders import Folder
from data.given_splits import split_of_name
from data.labels import find_class


def read_class_folders(folder: Folder) -> pd.DataFrame:
    """Take the name of an image's folder as its label.

    Args:
        folder: of the data set. A folder for a split, such as `mel/train`, is no label.

    Returns:
        `image_id`, `label` (as it is written) and `path` of each image.
    """
    frame = pd.DataFrame({"path": folder.images}, dtype=str)
    labels = {name: _label(name, folder.root) for name in {*map(os.path.dirname, folder.images)}}
    frame["label"] = [labels[os.path.dirname(path)] for path in folder.images]
    frame["image_id"] = [_as_text(Path(path).stem) for path in folder.images]
    # If the files are numbered from 1 in each folder, the folder becomes part of the id.
    ambiguous = frame["image_id"].duplicated(keep=False)
    frame.loc[ambiguous, "image_id"] = [
        _as_text(Path(path).relative_to(folder.root).with_suffix("").as_posix())
        for path in frame.loc[ambiguous, "path"]
    ]
    return frame


def _label(folder: str, root: Path) -> str:
    """Return the name of the nearest folder that is not one of a split."""
    names = Path(folder).relative_to(root).parts
    for name in reversed(names):
        if find_class(name) or not split_of_name(name):
            return name
    return Path(folder).name


def _as_text(name: str) -> str:
    """Return a file name, which need not be UTF-8, as text that can be written to a table."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", text)
