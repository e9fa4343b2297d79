"""Which descriptions can be used; a file may have been written by anybody."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from models import ModelError
from models.description import FORMAT, MAX_IMAGE_SIZE, Description, find_description
from models.field_checks import (
    HASH_BYTES,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    MAX_SOURCES,
    are_class_names,
    are_counts,
    are_different_strings,
    are_hashes,
    are_melanomas,
    are_names,
    are_operating_points,
    are_prediction_sets,
    are_strings,
    is_date,
    is_fraction_or_none,
    is_name,
    is_number_or_none,
)
from support.files import MAX_JSON_BYTES, parse_json


def peek_description(path: str | os.PathLike) -> Description | None:
    """Read the description in a `.keras` file without loading the model, in milliseconds.

    Args:
        path: a file that may have been written by anybody.

    Returns:
        None if there is none that can be used; loading the model says why.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
            config = parse_json(file.read(MAX_JSON_BYTES + 1))
        check_description(description := find_description(config))
    except Exception:  # damaged archives and JSON fail in many ways
        return None
    return description


def check_description(description: Description) -> None:
    """Refuse a description with values that cannot be used.

    Args:
        description: from a file that may have been written by anybody.

    Raises:
        ModelError: its format is unknown, or a value cannot be used.
    """
    if description.format != FORMAT:
        received = str(description.format)[:50]
        raise ModelError(f"expected description format 1 to {FORMAT}, received {received}")
    for name, (expected, is_valid) in _list_checks(description).items():
        value = getattr(description, name)
        if not is_valid(value):
            raise ModelError(
                f"expected {expected} as {name} in its description, received {value!r:.50}"
            )
    if (description.confidence_threshold is None) != (description.threshold_accuracy is None):
        raise ModelError(
            "expected both or neither of confidence_threshold and threshold_accuracy in its "
            "description, received one"
        )


def _list_checks(description: Description) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """Return what is expected of each field, and whether a value is that."""
    name = (f"one line of at most {MAX_NAME_LENGTH} characters", is_name)
    strings = ("a list of strings", are_strings)
    fraction = ("a fraction in 0..1 or null", is_fraction_or_none)
    hashes = (f"base64 of hashes of {HASH_BYTES} bytes", are_hashes)
    return {
        "model": name,
        "pixel_scaling": name,
        "class_names": ("two or more different names without slashes", are_class_names),
        **_class_checks(description),
        "data_name": name,
        "sources": (f"a number of images for each of at most {MAX_SOURCES:,} names", are_counts),
        "date": ("a date such as 2025-12-31, or an empty string", is_date),
        "synthetic": ("true or false", lambda value: isinstance(value, bool)),
        "melanomas": ("the split, count and missed of melanomas, or null", are_melanomas),
        "train_image_ids": strings,
        "train_lesion_ids": strings,
        "train_patient_ids": strings,
        "train_pixel_hashes": hashes,
        "validation_image_ids": strings,
        "validation_lesion_ids": strings,
        "validation_patient_ids": strings,
        "validation_pixel_hashes": hashes,
        "image_size": (
            f"an integer from 1 to {MAX_IMAGE_SIZE}",
            lambda value: type(value) is int and 1 <= value <= MAX_IMAGE_SIZE,
        ),
        "temperature": (
            "a number above 0",
            lambda value: type(value) in (int, float) and 0 < value <= sys.float_info.max,
        ),
        "confidence_threshold": fraction,
        "threshold_accuracy": fraction,
        "detector": ("an object or null", lambda value: isinstance(value, dict | None)),
        "photograph_threshold": ("a finite number or null", is_number_or_none),
        "operating_points": (
            "thresholds of malignant and melanoma in 0..1, by point, or null",
            are_operating_points,
        ),
    }


def _class_checks(description: Description) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """Return what is expected of the fields that name classes, by their names."""

    def are_classes(names: Iterable[str]) -> bool:
        return set(names) <= set(description.class_names)

    return {
        "malignant": (
            "different names of its classes",
            lambda value: are_different_strings(value) and are_classes(value),
        ),
        "class_titles": (
            f"one line of at most {MAX_NAME_LENGTH} characters for some of its classes",
            lambda value: are_names(value) and are_classes(value),
        ),
        "class_aliases": (
            f"at most {MAX_NAMES:,} names and the class of each",
            lambda value: are_names(value) and are_classes(value.values()),
        ),
        "prediction_sets": (
            "a coverage and thresholds in 0..1 of all its classes, or null",
            lambda value: (
                are_prediction_sets(value)
                and (not value or set(value["thresholds"]) == set(description.class_names))
            ),
        ),
    }
