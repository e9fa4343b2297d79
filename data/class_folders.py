"""One folder of images per class."""

import os
import re
import unicodedata
from pathlib import Path

import pandas as pd

from data.class_names import diagnosis_of
from data.classes import ClassScheme, classes_of
from data.folders import Folder, without_downsampled
from data.given_splits import split_of_name, without_split
from data.table_layouts import SPLIT_COLUMNS
from support.files import count_noun, list_names

# Words of the names of folders that hold images of all classes, such as `HAM10000_images_part_1`.
_GENERAL = {
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pics"),
    *("jpg", "jpeg", "png", "tif", "tiff", "input", "inputs", "file", "files", "folder", "raw"),
    *("data", "dataset", "ham", "isic", "pad", "ufes", "task", "challenge", "part", "batch"),
    *SPLIT_COLUMNS,
}


def read_class_folders(
    folder: Folder, classes: ClassScheme | None
) -> tuple[pd.DataFrame, list[str]]:
    """Take the name of an image's folder as its label.

    Args:
        folder: of the data set. A folder for a split, such as `mel/train`, or for images of all
            classes, such as `mel/images`, is no label if a folder above it is one. A folder with a
            number in its name, in one with the name of a class, such as `mel/P017`, is a patient's.
        classes: the classes of interest; None for all folders with the name of a class: then
            images that are in none, such as those directly in the folder of the data set, are left
            out.

    Returns:
        `image_id`, `label` (as it is written), `class_name` (empty if the label is no class) and
        `path` of each image, and `patient_id` if there are folders of patients; and lines on these
        and on the images that were left out.
    """
    frame = pd.DataFrame({"path": folder.images}, dtype=str)
    parents = frame["path"].map(os.path.dirname)
    found = {name: _label_and_patient(name, folder.root, classes) for name in {*parents}}
    frame["label"] = [found[name][0] for name in parents]
    patients = pd.Series([found[name][1] for name in parents], dtype=str)
    notes = []
    if _are_patients(patients, frame["label"]):
        frame["patient_id"] = patients
        names = patients[patients != ""]
        notes.append(
            f"patients by the folders in those of classes: {names.nunique():,}, such as "
            f"{names.iloc[0]}"
        )
    if (outside := frame["label"] == "").any():
        example = list_names([os.path.relpath(frame.loc[outside, "path"].iloc[0], folder.root)])
        count = count_noun(outside.sum(), "image")
        notes.append(f"skipped {count} in no folder of a class, such as {example}")
        frame = frame[~outside].reset_index(drop=True)
    frame["class_name"] = classes_of(frame["label"].tolist(), classes)
    frame["image_id"] = _image_ids(frame["path"].tolist(), folder.root)
    return frame, notes


def _are_patients(folders: pd.Series, labels: pd.Series) -> bool:
    """Tell whether folders inside those of classes are patients, not image sizes such as `224`.

    The same ones are in all classes then, or one in each.

    Args:
        folders: that of each image, empty for none.
        labels: of each image.
    """
    names = folders[folders != ""].groupby(labels).agg(frozenset)
    differ = len(names) == 1 or names.nunique() > 1
    return differ and names.map(len).max() > 1


def count_class_folders(folder: Folder, classes: ClassScheme | None) -> int:
    """Return how many classes have folders of images."""
    parents = {*map(os.path.dirname, folder.images)}
    labels = {_label_and_patient(name, folder.root, classes)[0] for name in parents}
    if classes is not None:
        labels = {classes.find(label) for label in labels}
    return len(labels - {"", None})


def _image_ids(paths: list[str], root: Path) -> list[str]:
    """Return the names of files, with their folders, and then their suffixes, if not unique."""
    names = pd.Series([_as_text(Path(path).stem) for path in paths], dtype=str)
    short = names.map(without_downsampled)
    names = names.where(short.isin(names), short)
    files = pd.Series([Path(path).relative_to(root) for path in paths], dtype=object)
    # If the files are numbered from 1 in each folder, the folder becomes part of the id.
    with_folder = files.map(lambda file: _as_text(file.with_suffix("").as_posix()))
    names = names.mask(names.duplicated(keep=False), with_folder)
    # `mel/1.jpg` and `mel/1.png`
    with_suffix = files.map(lambda file: _as_text(file.as_posix()))
    return names.mask(names.duplicated(keep=False), with_suffix).tolist()


def _label_and_patient(folder: str, root: Path, classes: ClassScheme | None) -> tuple[str, str]:
    """Return the label and the patient that the folders of an image give; each empty if none does.

    The label is the name of the nearest folder that is not one of a split, of all classes, or of a
    patient.
    """
    names = [_as_text(name) for name in reversed(Path(folder).relative_to(root).parts)]
    are_classes = [bool(classes.find(name) if classes else diagnosis_of(name)) for name in names]
    patient = ""
    for index, (name, is_class) in enumerate(zip(names, are_classes, strict=True)):
        if is_class:
            return (name if classes else without_split(name)), patient
        if split_of_name(name) or _is_general(name):
            continue
        if not (any(map(str.isdigit, name)) and any(are_classes[index:])):
            return name, ""
        patient = name
    if classes is None:
        return "", ""
    folders = (name for name in names if not split_of_name(name))
    return next(folders, _as_text(Path(folder).name)), ""


def _is_general(name: str) -> bool:
    words = re.findall(r"[^\W\d_]+", name.lower())
    return bool(words) and _GENERAL.issuperset(words)


def _as_text(name: str) -> str:
    """Return a file name, which need not be UTF-8, as text that can be written to a table."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return unicodedata.normalize("NFC", text)
