"""What the values of a description may be, from a file that may have been written by anybody."""

import base64
import datetime
import re
import sys

MAX_NAME_LENGTH = 200
# Bytes of a hash of pixels.
HASH_BYTES = 8
# Of the class titles and of the other names of classes.
MAX_NAMES = 10_000
MAX_SOURCES = 1000
_MAX_COUNT = 10**9
_TASKS = {"malignant", "melanoma"}
# What an operating point fixes, and at which fraction.
_POINT = re.compile(r"(sensitivity|specificity)_0\.\d\d")


def are_strings(value: object) -> bool:
    """Tell whether a value is a tuple of strings."""
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def are_different_strings(value: object) -> bool:
    """Tell whether a value is a tuple of strings of which no two are equal."""
    return are_strings(value) and len(set(value)) == len(value)


def are_class_names(value: object) -> bool:
    """Tell whether a value can name the classes of a model."""
    if not (are_different_strings(value) and len(value) > 1):
        return False
    # They become parts of file names.
    return all(name and is_name(name) and not {"/", "\\"} & set(name) for name in value)


def is_name(value: object) -> bool:
    """Tell whether a value is a name: one printable line that is not too long."""
    return isinstance(value, str) and len(value) <= MAX_NAME_LENGTH and value.isprintable()


def are_names(value: object) -> bool:
    """Tell whether a value maps names to names."""
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        return False
    return all(name and is_name(name) for pair in value.items() for name in pair)


def are_counts(value: object) -> bool:
    """Tell whether a value maps names to numbers of images."""
    if not isinstance(value, dict) or len(value) > MAX_SOURCES:
        return False
    return all(
        name and is_name(name) and type(count) is int and 0 < count <= _MAX_COUNT
        for name, count in value.items()
    )


def is_date(value: object) -> bool:
    """Tell whether a value is a date as ISO 8601 writes it, or an empty string."""
    if not isinstance(value, str):
        return False
    try:
        return value == "" or datetime.date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def are_melanomas(value: object) -> bool:
    """Tell whether a value says how many melanomas a model misses, or is None."""
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"split", "count", "missed"}:
        return False
    count, missed = value["count"], value["missed"]
    are_numbers = type(count) is int and type(missed) is int
    is_split = value["split"] in ("validation", "test")
    return is_split and are_numbers and 0 <= missed <= count and 0 < count <= _MAX_COUNT


def are_hashes(value: object) -> bool:
    """Tell whether a value is base64 of hashes."""
    if not isinstance(value, str):
        return False
    try:
        return len(base64.b64decode(value, validate=True)) % HASH_BYTES == 0
    except ValueError:
        return False


def is_fraction(value: object) -> bool:
    """Tell whether a value is a number from 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1


def is_fraction_or_none(value: object) -> bool:
    """Tell whether a value is a number from 0 to 1, or None."""
    return value is None or is_fraction(value)


def are_operating_points(value: object) -> bool:
    """Tell whether a value has thresholds by operating point and binary task, or is None."""
    if value is None:
        return True
    if not isinstance(value, dict) or not set(value) <= _TASKS:
        return False
    return all(
        isinstance(points, dict)
        and points
        and all(
            isinstance(name, str) and _POINT.fullmatch(name) and is_fraction(threshold)
            for name, threshold in points.items()
        )
        for points in value.values()
    )


def are_prediction_sets(value: object) -> bool:
    """Tell whether a value has a coverage and a threshold by class, or is None."""
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"coverage", "thresholds"}:
        return False
    thresholds = value["thresholds"]
    return (
        is_fraction(value["coverage"])
        and 0 < value["coverage"] < 1
        and isinstance(thresholds, dict)
        and all(map(is_fraction, thresholds.values()))
    )


def is_number_or_none(value: object) -> bool:
    """Tell whether a value is a finite number, or None."""
    # Written so that NaN and integers that no float can hold fail as well.
    return value is None or (
        type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max
    )
