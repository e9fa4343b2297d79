"""What an HDF5 file of weights may contain: checks on an untrusted file before Keras reads it.

HDF5 is a library in C: some damaged files keep it busy forever, or make it take all memory for the
value of one attribute, before any of it can be checked. So a copy of this process reads the
file first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py

from models import MAX_BYTES, ModelError
from models.trial import try_first
from support.files import first_line

# The largest model of this project has a tenth of them.
_MAX_OBJECTS = 100_000


def check_hdf5(source: Path | BinaryIO) -> None:
    """Refuse weights that are stored in other files, too large, or cannot be read.

    Args:
        source: a path, or an open file with the content.

    Raises:
        ModelError: they cannot be used, or not read within little memory and time; the message
            names no file.
    """
    try_first(lambda: _check(source, read=True), expected="a file that HDF5 can read")
    _check(source, read=False)


def _check(source: Path | BinaryIO, *, read: bool) -> None:
    try:
        with h5py.File(source, "r") as file:
            total = 0
            for item in _list_objects(file):
                if isinstance(item, h5py.Dataset):
                    total += item.nbytes
                if total > MAX_BYTES:
                    raise ModelError(
                        f"expected at most {MAX_BYTES:,} bytes of weights, received {total:,} or "
                        "more"
                    )
                if read:
                    _read(item)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # damaged HDF5 fails in many ways
        raise ModelError(f"the file is damaged: {first_line(error)}") from error


def _list_objects(file: h5py.File) -> Iterator[h5py.HLObject]:
    """Yield everything in a file once, however many names it has."""
    seen, waiting = set(), [file]
    while waiting:
        item = waiting.pop()
        address = h5py.h5o.get_info(item.id).addr
        # A group with several names, or inside itself, is looked at once.
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > _MAX_OBJECTS:
            raise ModelError(f"expected at most {_MAX_OBJECTS:,} objects, received more")
        if isinstance(item, h5py.Group):
            for name in item:
                if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                    _refuse_elsewhere(f"{item.name.rstrip('/')}/{name}")
                waiting.append(item[name])
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            _refuse_elsewhere(item.name)
        yield item


def _refuse_elsewhere(name: str) -> None:
    raise ModelError(f"expected weights inside the file, {name} is stored elsewhere")


def _read(item: h5py.HLObject) -> None:
    for name in item.attrs:
        item.attrs[name]
    if isinstance(item, h5py.Dataset):
        item[()]
