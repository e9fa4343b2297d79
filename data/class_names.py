"""What is known of the names of classes: titles, malignancy, and which names are valid."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from data import DataError
from data.ham10000 import DIAGNOSES, MALIGNANT
from data.labels import find_class, plain_name
from support.files import list_names, one_line

_MAX_CLASSES = 1000
MAX_NAME_LENGTH = 200
# Diagnoses besides those of HAM10000 of which it is known whether they are malignant.
_OTHER_DIAGNOSES = {
    "scc": ("scc", True),
    "cscc": ("scc", True),
    "squamouscellcarcinoma": ("scc", True),
    "squamouscellcancer": ("scc", True),
    "invasivesquamouscellcarcinoma": ("scc", True),
    "squamouscellcarcinomainvasive": ("scc", True),
    "benign": ("benign", False),
    "malignant": ("malignant", True),
    "cancer": ("cancer", True),
}
# Titles of codes: of the ISIC challenges, and of PAD-UFES-20 (ack, nev, sek), in lower case.
_TITLES = {
    **DIAGNOSES,
    "ak": "actinic keratosis",
    "ack": "actinic keratosis",
    "nev": "melanocytic nevus",
    "scc": "squamous cell carcinoma",
    "sek": "seborrheic keratosis",
    "unk": "other diagnosis",
}


def check_names(names: Sequence[str], source: str = "") -> None:
    """Refuse names that cannot be those of the classes of a model.

    Args:
        names: of the classes.
        source: where they come from, for the message.

    Raises:
        DataError: there are fewer than two or more than 1,000, or one is no valid name.
    """
    start = f"{source}: " if source else ""
    if not 2 <= len(names) <= _MAX_CLASSES:
        received = f"{len(names):,} ({list_names(names, 5)})" if names else "none"
        raise DataError(
            f"{start}expected 2 to {_MAX_CLASSES:,} classes, received {received}; check that the "
            "labels are diagnoses, or choose the classes with a class list"
        )
    for name in names:
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable() or {*"/\\"} & {*name}:
            # Names of classes become parts of the names of files.
            raise DataError(
                f"{start}expected names of classes of 1 to {MAX_NAME_LENGTH} printable characters "
                f"without slashes, received {one_line(name)[:MAX_NAME_LENGTH]!r}; rename the "
                "label, or map it to a class with a class list"
            )


def is_malignant(name: str) -> bool | None:
    """Tell whether a class is malignant or premalignant by its name; None if that is unknown."""
    if found := find_class(name):
        return found in MALIGNANT
    return _OTHER_DIAGNOSES.get(plain_name(name), ("", None))[1]


def spelling(label: str) -> str:
    """Return a label in a form that is the same in all cases, and without outer spaces."""
    return unicodedata.normalize("NFC", label).strip().casefold()


def spelled_words(label: str) -> str:
    """Return the words of a label, whether spaces, `_` or `-` separate them, as `spelling`."""
    return " ".join(spelling(label).replace("_", " ").replace("-", " ").split())


def diagnosis_of(label: str) -> str | None:
    """Return the diagnosis that a label names: a class of HAM10000, or another; None if unknown."""
    return find_class(label) or _OTHER_DIAGNOSES.get(plain_name(label), (None,))[0]


def title_of(name: str) -> str:
    """Return what to call a class with a known code in a sentence; empty if it is unknown."""
    return _TITLES.get(name.lower(), "")


def class_titles(class_names: Iterable[str], titles: Mapping[str, str]) -> dict[str, str]:
    """Return what to call classes in a sentence.

    Args:
        class_names: of a model.
        titles: of its description; those of older formats have none.

    Returns:
        A title by class: the given one, else that of a class of HAM10000; only those known.
    """
    known = DIAGNOSES | dict(titles)
    return {name: known[name] for name in class_names if name in known}
