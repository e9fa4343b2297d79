"""From the labels of a data set to classes: which label became which, and what is skipped."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data import DataError
from data.class_names import spelling
from data.classes import ClassScheme, is_ham10000_scheme, scheme_of_labels
from data.labels import ISIC_CLASSES, find_class
from support.files import list_names

# Of the ISIC Archive, one line lists all names that became a class.
_MAX_ARCHIVE_NAMES = 100


def name_classes(
    frame: pd.DataFrame, classes: ClassScheme | None, root: Path, *, of_archive: bool = False
) -> tuple[pd.DataFrame, ClassScheme, list[str], dict[str, int]]:
    """Replace labels by classes; skip and count those without one.

    Args:
        frame: with `label` (as it is written) and `class_name` (empty where it has none).
        classes: the classes of interest; None for all that there are.
        root: where the rows come from, for messages.
        of_archive: whether the labels are those of the ISIC Archive.

    Returns:
        The rows that have a class, as `label`, under a new index; the classes; lines on labels that
        have other names than their classes; and the number of images of each other label.

    Raises:
        DataError: there is no image of these classes, or the labels cannot be classes.
    """
    if classes is None:
        known = frame.loc[frame["class_name"] != "", "class_name"]
        scheme = scheme_of_labels(known, source=str(root))
        name_of = {spelling(name): name for name in scheme.names}
        found = {name: name_of[spelling(name)] for name in known.unique()}
        frame = frame.assign(class_name=frame["class_name"].map(found).fillna(""))
    else:
        scheme = classes
    counts = frame.groupby(["label", "class_name"], sort=False).size()
    order = {name: index for index, name in enumerate(ISIC_CLASSES)}
    ranked = sorted(counts.index, key=lambda pair: order.get(pair[0], len(order)))
    skipped = {label: int(counts[label, name]) for label, name in ranked if not name}
    renamed = [(label, name) for label, name in ranked if name and label != name]
    frame = frame[frame["class_name"] != ""].reset_index(drop=True)
    if frame.empty:
        received = list_names([f"{count:,} {name}" for name, count in skipped.items()])
        wanted = "of HAM10000" if is_ham10000_scheme(classes) else list_names(scheme.names)
        raise DataError(f"{root}: expected images of the classes {wanted}, received {received}")
    frame = frame.assign(label=frame["class_name"]).drop(columns="class_name")
    notes = []
    if of_archive:
        notes = _describe_archive(renamed, scheme.names)
    elif renamed:
        notes = [f"classes: {list_names([f'{label} = {name}' for label, name in renamed])}"]
    if classes is None:
        notes += _same_diagnoses(scheme.names)
    return frame, scheme, notes, skipped


def _describe_archive(renamed: Sequence[tuple[str, str]], names: Sequence[str]) -> list[str]:
    """Return a line for each class that names all diagnoses of the Archive that became it."""
    lines = []
    for name in names:
        labels = [label for label, found in renamed if found == name]
        if labels:
            # These names contain commas.
            listed = "; ".join(labels[:_MAX_ARCHIVE_NAMES])
            more = len(labels) - _MAX_ARCHIVE_NAMES
            lines.append(f"{name} = {listed}" + (f"; and {more:,} more" if more > 0 else ""))
    return lines


def _same_diagnoses(names: Sequence[str]) -> list[str]:
    """Return a line for classes that are the same diagnosis under several names."""
    by_diagnosis: dict[str, list[str]] = {}
    for name in names:
        if diagnosis := find_class(name):
            by_diagnosis.setdefault(diagnosis, []).append(name)
    return [
        f"{' and '.join(found[:10])} are one class of HAM10000, {diagnosis}; a class list can "
        "merge them"
        for diagnosis, found in by_diagnosis.items()
        if len(found) > 1
    ]
