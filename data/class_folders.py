"""One folder of images per class."""

import os
import re
import unicodedata
from pathlib import Path

import pandas as pd

from data.class_names import diagnosis_of
from data.classes import ClassScheme
from data.folders import Folder, without_downsampled
from data.given_splits import split_of_name
from data.table_layouts import SPLIT_COLUMNS
from support.files import count_noun, list_names

# Words of the names of folders that hold images of all classes, such as `HAM10000_images_part_1`.
_GENERAL = {
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pics"),
    *("jpg", "jpeg", "png", "tif", "tiff", "input", "inputs", "file", "files", "folder", "raw"),
    *("data", "dataset", "ham", "isic", "pad", "ufes", "task", "challenge", "part", "batch"),
    *SPLIT_COLUMNS,
}
_SPLIT_WORD = re.compile(
    r"[\s_.-]*(?<![a-z])(train|training|val|valid|validation|dev|test|testing)"
    r"(?![a-z])[\s_.-]*",
    re.IGNORECASE,
)


def read_class_folders(folder: Folder, classes: ClassScheme | None) -> tuple[pd.DataFrame, str]:
    """Take the name of an image's folder as its label.

    Args:
        folder: of the data set. A folder for a split, such as `mel/train`, or for images of all
            classes, such as `mel/images`, is no label if a folder above it is one.
        classes: the classes of interest; None for all folders with the name of a class: then
            images that are in none, such as those directly in the folder of the data set, are left
            out.

    Returns:
        `image_id`, `label` (as it is written), `class_name` (empty if the label is no class) and
        `path` of each image; and a line on the images that were left out, empty if there are none.
    """
    frame = pd.DataFrame({"path": folder.images}, dtype=str)
    labels = {name: _label(name, folder.root, classes) for name in _parents(folder)}
    frame["label"] = [labels[os.path.dirname(path)] for path in folder.images]
    note = ""
    if (outside := frame["label"] == "").any():
        example = list_names([os.path.relpath(frame.loc[outside, "path"].iloc[0], folder.root)])
        count = count_noun(outside.sum(), "image")
        note = f"skipped {count} in no folder of a class, such as {example}"
        frame = frame[~outside].reset_index(drop=True)
    class_of = {
        label: label if classes is None else classes.find(label) or ""
        for label in frame["label"].unique()
    }
    frame["class_name"] = frame["label"].map(class_of)
    frame["image_id"] = _image_ids(frame["path"].tolist(), folder.root)
    return frame, note


def count_class_folders(folder: Folder, classes: ClassScheme | None) -> int:
    """Return how many classes have folders of images."""
    labels = {_label(name, folder.root, classes) for name in _parents(folder)}
    if classes is not None:
        labels = {classes.find(label) for label in labels}
    return len(labels - {"", None})


def _parents(folder: Folder) -> set[str]:
    return {*map(os.path.dirname, folder.images)}


def _image_ids(paths: list[str], root: Path) -> list[str]:
    """Return the names of files without suffix, with their folders where a name is not unique."""
    names = pd.Series([_as_text(Path(path).stem) for path in paths], dtype=str)
    short = names.map(without_downsampled)
    names = names.where(short.isin(names), short)
    # If the files are numbered from 1 in each folder, the folder becomes part of the id.
    return [
        _as_text(Path(path).relative_to(root).with_suffix("").as_posix()) if repeated else name
        for path, name, repeated in zip(paths, names, names.duplicated(keep=False), strict=True)
    ]


def _label(folder: str, root: Path, classes: ClassScheme | None) -> str:
    """Return the name of the nearest folder that is not one of a split."""
    names = [_as_text(name) for name in reversed(Path(folder).relative_to(root).parts)]
    for name in names:
        is_class = bool(classes.find(name) if classes else diagnosis_of(name))
        if split_of_name(name) and is_class:
            # `mel_train`
            return name if classes else _SPLIT_WORD.sub("", name)
        if is_class or not (split_of_name(name) or _is_general(name)):
            return name
    if classes is None:
        return ""
    return next((name for name in names if not split_of_name(name)), _as_text(Path(folder).name))


def _is_general(name: str) -> bool:
    words = re.findall(r"[^\W\d_]+", name.lower())
    return bool(words) and _GENERAL.issuperset(words)


def _as_text(name: str) -> str:
    """Return a file name, which need not be UTF-8, as text that can be written to a table."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", text)
