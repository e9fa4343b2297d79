"""The parts of a table of predictions: which images each has, and its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.folders import find_images
from data.tables import read_text
from support import InputError
from support.files import count_noun, file_state, replacing

if TYPE_CHECKING:
    import pandas as pd

# Changes when the same images, model and settings give other files.
_FORMAT = "2"
_PREFIX, _SUFFIX = "part-", ".parquet"
_LIST_SUFFIX = ".txt"
_TEXTS = {"image", "predicted", "prediction_set", "skipped"}
_NUMBERS = {"confidence", "disagreement"}


@dataclass(frozen=True)
class Parts:
    """A folder of Parquet files, one per part of a list of images.

    Programs that read Parquet read such a folder as one table, in the order of the file names.

    Attributes:
        folder: of the files.
        key: of images, model and settings; a file of another key is of another table.
        paths: of all images.
        size: images in a part.
    """

    folder: Path
    key: str
    paths: Sequence[str]
    size: int

    def __len__(self) -> int:
        return -(-len(self.paths) // self.size)

    def file(self, index: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"{_PREFIX}{index:06d}-{self.key}{_SUFFIX}"

    def images(self, index: int) -> list[str]:
        """Return the paths of the images of a part."""
        return list(self.paths[index * self.size : (index + 1) * self.size])

    def find_missing(self) -> list[int]:
        """Return the parts that have no file yet.

        Raises:
            InputError: the folder holds parts of another table.
        """
        found = {path.name for path in self.folder.glob(f"{_PREFIX}*{_SUFFIX}")}
        names = [self.file(index).name for index in range(len(self))]
        if others := sorted(found - {*names}):
            raise InputError(
                f"--output: expected a folder without predictions of other images, models or "
                f"settings, received {count_noun(len(others), 'file')} of them in {self.folder}, "
                f"such as {others[0]}; remove them, or choose another folder"
            )
        return [index for index, name in enumerate(names) if name not in found]


def list_images(sources: Iterable[str]) -> list[str]:
    """List image files; see `data.folders.find_images`.

    Args:
        sources: as there, or `.txt` files with a path per line.

    Raises:
        DataError: as there, or a list is no text.
        InputError: a list is empty.
    """
    paths: list[str] = []
    for source in sources:
        if not source.endswith(_LIST_SUFFIX) or not os.path.isfile(source):
            paths += find_images([source])
            continue
        lines = [line for line in read_text(Path(source)).splitlines() if line.strip()]
        if not lines:
            raise InputError(f"expected a path per line in {source}, found none; fill the list")
        paths += lines
    return paths


def build_key(paths: Sequence[str], checksums: Iterable[str], settings: Iterable[object]) -> str:
    """Return a key that is another one for other images, models or settings.

    Args:
        paths: of the images, whose size and date count.
        checksums: of the model files.
        settings: what else the rows depend on.
    """
    digest = hashlib.sha256(repr((_FORMAT, *settings)).encode())
    for checksum in checksums:
        digest.update(checksum.encode())
    for path in paths:
        digest.update(file_state(path))
    return digest.hexdigest()[:12]


def join_skipped(
    table: pd.DataFrame, paths: Sequence[str], failures: dict[int, str]
) -> pd.DataFrame:
    """Add a row for each image that cannot be read, in the order of the images.

    Args:
        table: one row for each other image, in their order.
        paths: of all images.
        failures: by index in `paths`, why an image cannot be read.

    Returns:
        The table with a column `skipped`: the reason, else None.
    """
    order = [index for index in range(len(paths)) if index not in failures]
    table = table.set_axis(order).reindex(range(len(paths)))
    table["image"] = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths]
    table["skipped"] = [failures.get(index) for index in range(len(paths))]
    return table


def write_part(table: pd.DataFrame, path: Path) -> None:
    """Write a part as Parquet, whole or not at all; all parts have the same types.

    Args:
        table: from `join_skipped`.
        path: of the file.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def type_of(name: str) -> pa.DataType:
        if name in _TEXTS:
            return pa.string()
        is_number = name in _NUMBERS or name.startswith("prob_")
        return pa.float64() if is_number else pa.bool_()

    # A column without any value, as of a part whose images all cannot be read, has no type of its
    # own.
    schema = pa.schema([(name, type_of(name)) for name in table])
    arrays = [
        pa.array(table[name].astype(object).where(table[name].notna(), None), schema.field(i).type)
        for i, name in enumerate(table)
    ]
    with replacing(path) as temporary:
        parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)
