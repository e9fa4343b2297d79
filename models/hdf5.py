"""Trying to read an HDF5 file of anybody, before this process does.

HDF5 is a library in C: some damaged files keep it busy for ever, or make it take all memory for the
value of one attribute, before anything of it can be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import h5py

from models import ModelError
from models.trial import try_first
from support.files import first_line

# The largest model of this project has a tenth of them.
_MAX_OBJECTS = 100_000


def try_hdf5(source: Path | BinaryIO) -> None:
    """Read a whole HDF5 file in a copy of this process.

    Args:
        source: a path, or an open file with the content.

    Raises:
        ModelError: it cannot be read within little memory and time; the message names no file.
    """
    try_first(lambda: _read(source), expected="a file that HDF5 can read")


def _read(source: Path | BinaryIO) -> None:
    try:
        _read_all(source)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # damaged HDF5 fails in many ways
        raise ModelError(f"the file is damaged: {first_line(error)}") from error


def _read_all(source: Path | BinaryIO) -> None:
    """Read every attribute and every array of a file once, however many names it has."""
    with h5py.File(source, "r") as file:
        seen, waiting = set(), [file]
        while waiting:
            item = waiting.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise ModelError(f"expected at most {_MAX_OBJECTS:,} objects, received more")
            for name in item.attrs:
                item.attrs[name]
            if isinstance(item, h5py.Group):
                # Other links lead to other files.
                links = (name for name in item if _is_hard(item, name))
                waiting.extend(item[name] for name in links)
            elif isinstance(item, h5py.Dataset) and not (item.external or item.is_virtual):
                item[()]


def _is_hard(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink)
