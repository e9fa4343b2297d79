"""Class lists: the classes that a user wants, one a line, in a text or CSV file."""

import csv
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data import DataError
from data.class_names import MAX_NAME_LENGTH, spelling
from data.tables import read_text
from support.files import list_names

_MAX_BYTES = 1 << 20
_MALIGNANT = {
    **dict.fromkeys(("malignant", "premalignant", "yes", "true", "1", "x"), True),
    **dict.fromkeys(("benign", "no", "false", "0"), False),
}
# Names of the columns, in the order of the columns without a header.
_COLUMNS = (
    ("name", "class", "label", "class name"),
    ("description", "title", "diagnosis"),
    ("malignant", "malignancy", "benign or malignant"),
    ("other names", "aliases", "synonyms", "labels", "further names"),
)


@dataclass(frozen=True)
class ListedClass:
    """A line of a class list.

    Attributes:
        name: of the class.
        title: what to call it in a sentence; may be empty.
        malignant: whether it is malignant or premalignant; None if that is not said.
        aliases: further labels that stand for it.
    """

    name: str
    title: str
    malignant: bool | None
    aliases: tuple[str, ...]


def read_listed_classes(path: Path) -> list[ListedClass]:
    """Read the lines of a class list, see `data.classes.read_class_list`.

    Raises:
        DataError: there is no such file, it is none, or a line cannot be used.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise DataError(
            f"expected a class list, a text file with one class a line, found {found} "
            f"{str(path)!r}; check its name"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(
            f"{path}: expected one class a line, received more than {_MAX_BYTES >> 20} MiB; check "
            "that it is the right file"
        )
    rows = _read_rows(path)
    order = _columns(rows[0][1]) if rows else None
    rows = rows[1:] if order else rows
    listed = [_listed_class(row, order, path, line) for line, row in rows]
    class_of: dict[str, str] = {}
    for (line, _), item in zip(rows, listed, strict=True):
        if spelling(item.name) in class_of:
            raise DataError(
                f"{path}: expected each class once, received {item.name} again in line {line}; "
                "remove it, or write other names of a class into its fourth column"
            )
        class_of[spelling(item.name)] = item.name
    for (line, _), item in zip(rows, listed, strict=True):
        for alias in item.aliases:
            if class_of.setdefault(spelling(alias), item.name) != item.name:
                raise DataError(
                    f"{path}: expected each label in one class, received {alias} for "
                    f"{list_names([class_of[spelling(alias)], item.name])} in line {line}; remove "
                    "it from one of them"
                )
    return listed


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not empty, with their numbers, split into fields."""
    lines = list(enumerate(unicodedata.normalize("NFC", read_text(path)).splitlines(), 1))
    lines = [(number, line) for number, line in lines if line.strip(" \t,;")]
    separator = max(",;\t", key=lambda letter: sum(letter in line for _, line in lines))
    rows = []
    for number, line in lines:
        reader = csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True)
        try:
            rows.append((number, [field.strip() for field in next(reader)]))
        except csv.Error as error:
            raise DataError(
                f"{path}: expected name,description,malignant,other names, received line {number} "
                f"that cannot be read ({error}); correct it"
            ) from error
    return rows


def _columns(row: Sequence[str]) -> list[int] | None:
    """Return the column of each field if a row names them, -1 where there is none."""
    found = [" ".join(name.casefold().replace("_", " ").split()) for name in row]
    if found[0] not in _COLUMNS[0] and not (
        any(name in _COLUMNS[0] for name in found)
        and all(not name or any(name in names for names in _COLUMNS) for name in found)
    ):
        return None
    return [next((i for i, name in enumerate(found) if name in names), -1) for names in _COLUMNS]


def _listed_class(
    row: Sequence[str], order: Sequence[int] | None, path: Path, line: int
) -> ListedClass:
    third = row[2].lower() if len(row) > 2 else ""
    if order is None and row[1:2] and row[1].lower() in ("malignant", "benign"):
        # Without a description; but it may be left empty at its place.
        rest = row[1:] if third else [row[1], *row[3:]]
        row = row if third in _MALIGNANT else [row[0], "", *rest]
    if order is None and len(row) > len(_COLUMNS) and any(row[len(_COLUMNS) :]):
        raise DataError(
            f"{path}: expected name,description,malignant,other names, received {len(row)} fields "
            f"in line {line}; put a description with a comma in quotes, and separate other names "
            "with |"
        )
    indices = order or range(len(_COLUMNS))
    name, title, malignancy, others = (row[i] if 0 <= i < len(row) else "" for i in indices)
    if len(title) > MAX_NAME_LENGTH or not title.isprintable():
        raise DataError(
            f"{path}: expected a description of at most {MAX_NAME_LENGTH} printable characters, "
            f"received {title[:50]!r}... in line {line}; shorten it"
        )
    if malignancy and malignancy.lower() not in _MALIGNANT:
        raise DataError(
            f"{path}: expected malignant or benign in the third column, received "
            f"{malignancy[:50]!r} in line {line}; correct it, or leave it empty"
        )
    aliases = tuple(alias.strip() for alias in others.split("|") if alias.strip())
    for alias in aliases:
        if len(alias) > MAX_NAME_LENGTH or not alias.isprintable():
            raise DataError(
                f"{path}: expected other names of at most {MAX_NAME_LENGTH} printable characters, "
                f"received {alias[:50]!r} in line {line}; shorten it"
            )
    # Its own name, written otherwise, is no other.
    aliases = tuple(alias for alias in aliases if spelling(alias) != spelling(name))
    return ListedClass(name, title, _MALIGNANT.get(malignancy.lower()), aliases)
