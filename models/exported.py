"""What the files that `python -m app.export` writes share: names, and a checked description."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from models import MAX_BYTES, ModelError
from models.description import Description, read_description
from models.description_checks import check_description
from support.files import first_line, parse_json

# The names of the input and of the outputs, where a format has names.
PIXELS, OUTPUTS = "pixels", ("probabilities", "features")


def write_record(description: Description, model: bytes) -> str:
    """Return the description of a model, as JSON with the checksums of both.

    Args:
        description: of the model.
        model: the model that it describes, as stored; empty for one in several files.
    """
    values = asdict(description)
    record = {"description": values, "description_sha256": _checksum(_as_bytes(values))}
    if model:
        record["sha256"] = _checksum(model)
    return json.dumps(record)


def read_record(text: bytes, model: bytes) -> Description:
    """Read and check what `write_record` wrote.

    Args:
        text: the record, from a file that may have been written by anybody.
        model: the model in the same file.

    Raises:
        ModelError: it describes another model, or has values that cannot be used.
        Exception: it is no record; damaged JSON fails in many ways.
    """
    record = parse_json(text)
    values = record["description"]
    if _checksum(model) != record["sha256"]:
        raise ModelError("expected the model that it describes, the checksum is that of another")
    # Records of the first versions have no checksum of their own.
    if record.keys() != {"description", "sha256"} and record["description_sha256"] != _checksum(
        _as_bytes(values)
    ):
        raise ModelError("expected the description that was written, its checksum is another")
    description = read_description(values)
    check_description(description)
    return description


def read_exported(path: Path) -> bytes:
    """Return the content of a file of limited size.

    Raises:
        ModelError: there is no such file, or it is too large.
    """
    if not path.is_file():
        raise ModelError(f"{path}: model file not found; check the path, or export a model")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: expected a file of at most {MAX_BYTES:,} bytes")
    return path.read_bytes()


@contextlib.contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Turn every exception of the block into a `ModelError` that names the file."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a file that python -m app.export wrote") from error
    except Exception as error:  # damaged archives, JSON and graphs fail in many ways
        raise ModelError(
            f"{path}: the file is damaged: {first_line(error)}; export the model again"
        ) from error


def _as_bytes(values: object) -> bytes:
    return json.dumps(values).encode()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
