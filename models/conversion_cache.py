"""Keeping the conversions of model files in a cache folder, for `models.engines`."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from pathlib import Path

from models import ModelWarning
from models.backbones import keras_home
from support.files import describe_os_error, make_folder, replacing

# Changes with what a conversion consists of.
_FORMAT = 1
# The files that were used longest ago are removed.
_MAX_FILES = 20
# After so long, a model that could not be converted is tried again.
_RETRY_SECONDS = 86_400


def cache_folder() -> Path:
    """Return the folder of the conversions, beside Keras's own cache of weights."""
    return keras_home() / "litert"


def read_conversion(checksum: str) -> bytes | None:
    """Return what was kept for a model file; None if nothing was.

    Args:
        checksum: of the model file.
    """
    path = _path(checksum)
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if not content:
            # Another version may convert what this one could not.
            return b"" if _last_use(path) > time.time() - _RETRY_SECONDS else None
        with contextlib.suppress(OSError):  # a cache that only others can write
            os.utime(path)
        return content
    return None


def keep_conversion(checksum: str, content: bytes) -> None:
    """Keep a conversion, whole or not at all; a folder that cannot be written is a warning.

    Args:
        checksum: of the model file.
        content: of the conversion; empty for a model that cannot be converted.
    """
    try:
        folder = make_folder(cache_folder())
        with replacing(_path(checksum)) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        warnings.warn(
            f"the conversion of the model for LiteRT is not kept, and made again each time: "
            f"{describe_os_error(error)}",
            ModelWarning,
            stacklevel=2,
        )
        return
    # What killed processes left beside them ends in `.tflite` as well.
    kept = sorted(folder.glob("*.tflite"), key=_last_use, reverse=True)
    for path in kept[_MAX_FILES:]:
        with contextlib.suppress(OSError):  # another process removed it, or reads it
            path.unlink()


def _path(checksum: str) -> Path:
    return cache_folder() / f"{checksum}-{_FORMAT}.tflite"


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
