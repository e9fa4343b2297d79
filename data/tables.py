"""Label tables: from a file to named columns of text, and the checks that all layouts share."""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data import DataError
from support.frames import hold_any_text

hold_any_text(pd)

# In lower case: what R, pandas, NumPy, databases, spreadsheets and people write for "no value".
_MISSING = frozenset(
    [
        *("", "-", "--", "---", ".", "..", "?", "*", "_", "\u2013", "\u2014"),
        *("na", "n/a", "n.a.", "n.a", "n/d", "nd", "<na>", "#n/a", "#n/a n/a", "#na", "(na)"),
        *("nan", "-nan", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "nat"),
        *("none", "<none>", "null", "(null)", "<null>", "[null]", "#null!", "nil", "\\n"),
        *("#value!", "#ref!", "#name?", "#num!", "#div/0!"),
        *("missing", "not available", "not applicable", "not recorded", "no data", "undefined"),
        *("empty", "(empty)", "(blank)", "blank"),
    ]
)
_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    # The mark of UTF-16 is the beginning of that of UTF-32.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What a file that is no text begins with, what it is, and what to do.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as CSV"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file with git lfs pull"),
)
# The header of a table with one column per pixel has 50,000 characters.
_HEADER_BYTES = 400_000


@dataclass(frozen=True)
class Table:
    """A table as it is written.

    Attributes:
        path: its file.
        header: the names of its columns.
        rows: the values of each row; those that end early are filled up.
        lines: the line of each row in the file.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, *names: str) -> list[str] | None:
        """Return the values of a column without surrounding spaces, empty where one is missing.

        Args:
            names: names of the column in different tables; the first that there is counts.

        Returns:
            One value per row; None if there is no such column.

        Raises:
            DataError: several columns have this name and different values.
        """
        for name in names:
            if indices := find_columns(self.header, name):
                first, *others = (self._values(index) for index in indices)
                if any(other != first for other in others):
                    raise DataError(
                        f"{self.path}: expected one column {name}, received {len(indices)} with "
                        "different values; rename or remove the wrong ones"
                    )
                return first
        return None

    def _values(self, index: int) -> list[str]:
        values = [row[index].strip() for row in self.rows]
        return ["" if value.lower() in _MISSING else value for value in values]


def find_columns(header: Sequence[str], name: str) -> list[int]:
    """Find the columns of a name: those named exactly so, else those that differ in case only.

    Args:
        header: names of all columns.
        name: the name; in the second step, spaces and punctuation do not count either.

    Returns:
        Their indices.
    """
    exact = [index for index, found in enumerate(header) if found == name]
    wanted = _letters(name)
    return exact or [index for index, found in enumerate(header) if _letters(found) == wanted]


def has_any(header: Sequence[str], names: Iterable[str]) -> bool:
    """Tell whether a table has a column of one of these names; see `find_columns`."""
    return any(find_columns(header, name) for name in names)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def read_header(path: Path) -> list[str]:
    """Return the names of the columns of a table; those of a file that is none are meaningless."""
    try:
        with path.open("rb") as file:
            content = file.read(_HEADER_BYTES)
        # Without a byte order mark, UTF-16 is refused by `read_table`.
        text = content.decode(_encoding(content), errors="replace").replace("\0", "")
        return _header(*_without_separator_line(text))[0]
    except (OSError, csv.Error):
        return []


def read_table(path: Path) -> Table:
    """Read a table of text, separated by commas, semicolons, tabs or bars.

    Encoded in UTF-8, or in UTF-16 or UTF-32 with a byte order mark. Empty rows are skipped.

    Args:
        path: the file.

    Raises:
        DataError: it is no such table, or has no rows.
    """
    text, separator = _without_separator_line(read_text(path))
    first_line = 2 if separator else 1
    try:
        header, separator = _header(text, separator)
    except csv.Error as error:
        raise _unreadable(path, first_line, error) from error
    if not any(header):
        raise DataError(f"{path}: expected column names in line 1, received none; copy it again")
    if header[0].startswith("<"):
        raise DataError(
            f"{path}: expected a table, received a web page; download the file itself, not its page"
        )
    lines, rows = [], []
    records = _records(path, text, separator, first_line)
    next(records)
    for line, row in records:
        if len(row) > len(header) and any(field.strip() for field in row[len(header) :]):
            raise DataError(
                f"{path}: expected {len(header)} values in each row, received {len(row)} in line "
                f"{line}; put values that contain the separator in quotes"
            )
        lines.append(line)
        rows.append(row + [""] * (len(header) - len(row)))
    if not rows:
        raise DataError(f"{path}: expected one row per image, received none; copy it again")
    return Table(path, header, rows, lines)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        DataError: it is no text.
    """
    content = path.read_bytes()
    for start, name, remedy in _FOREIGN:
        if content.startswith(start):
            raise DataError(f"{path}: expected a table, received {name}; {remedy}")
    return _decode(content, path)


def _encoding(content: bytes) -> str:
    return next((name for mark, name in _ENCODINGS.items() if content.startswith(mark)), "utf-8")


def _decode(content: bytes, path: Path) -> str:
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        # The byte order mark is not part of the object.
        line = content.count(b"\n", 0, error.start) + 1
        name = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise DataError(
            f"{path}: expected text in {name}, received the byte "
            f"0x{error.object[error.start]:02x} in line {line}; save the table as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path}: expected text in UTF-8, received a NUL byte in line {line}, as in UTF-16 "
            "without a byte order mark; save the table as UTF-8"
        )
    return text


def _without_separator_line(text: str) -> tuple[str, str]:
    """Split off the first line with which Excel names the separator; empty if there is none."""
    found = re.match(r'"?sep=(.)"?[ \t]*(\r\n|\r|\n)', text, re.IGNORECASE)
    return (text[found.end() :], found[1]) if found else (text, "")


def _header(text: str, separator: str = "") -> tuple[list[str], str]:
    """Return the names in the first row that has any, and the separator that splits it best."""
    candidates = []
    for character in separator or "\t;,|":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=character)
        row = next((row for row in reader if any(field.strip() for field in row)), [""])
        candidates.append((row, character))
    header, separator = max(candidates, key=lambda candidate: len(candidate[0]))
    return header, separator if len(header) > 1 else separator or ","


def _records(
    path: Path, text: str, separator: str, first_line: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, and the line in which each begins."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    line = first_line
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield line, row
            line = first_line + reader.line_num
    except csv.Error as error:
        raise _unreadable(path, line, error) from error


def _unreadable(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(
        f"{path}: cannot be read as a table: {error}, in the row that begins in line {line}; "
        "correct the line or copy the file again"
    )


def check_unique(frame: pd.DataFrame, table: Path) -> None:
    """Check that no image is listed twice.

    Args:
        frame: with `image_id`, under the lines of the file.
        table: where the rows come from.

    Raises:
        DataError: an image is listed twice.
    """
    repeated = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(
            f"{table}: expected each image once, received {repeated.iloc[0]} again in line "
            f"{repeated.index[0]}; remove the wrong rows ({len(repeated)} in total)"
        )
