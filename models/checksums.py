"""Checksums of model files, and which of these come with the project."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Of the models that come with the project, as `sha256sum` writes and checks them.
_CHECKSUMS = Path(__file__).parent / "pretrained" / "SHA256SUMS"


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_bundled(path: Path) -> bool:
    """Tell whether a file is a model that comes with the project, wherever it lies.

    Args:
        path: a file.
    """
    lines = _CHECKSUMS.read_text(encoding="utf-8").splitlines()
    return file_checksum(path) in {line.split()[0] for line in lines}
