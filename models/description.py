"""What a model file says about itself: fields, checks and older formats; without TensorFlow."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models import ModelError
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
from support.files import MAX_JSON_BYTES, list_names, parse_json

# Format 2 added the fields for warnings, format 3 renamed them; format 4 added what the model was
# trained on, its malignant classes, the melanomas that it misses, and hashes of its images; format
# 5 added what its classes are called, other names for them, and patients; format 6 added sources;
# format 7 added operating points and prediction sets.
FORMAT = 7
_OLD_FORMATS = (1, 2, 3, 4, 5, 6)
# They do not say which classes are malignant, nor whether images are synthetic.
_OLDEST_FORMATS = (1, 2, 3)
_OLD_NAMES = {"unsure_below": "confidence_threshold", "unsure_accuracy": "threshold_accuracy"}
# What models of older formats, which do not say so, took as malignant.
_OLD_MALIGNANT = ("akiec", "bcc", "mel")
# How the ids of generated lesions and images begin. Some real images have such an id, no lesion.
SYNTHETIC_LESIONS = "HAM_9"
SYNTHETIC_IMAGES = "ISIC_9"
# A batch of larger images takes gigabytes.
MAX_IMAGE_SIZE = 2048
PIXEL_SCALING = "inside the model; feed 0..255"
SYNTHETIC_WARNING = (
    "This model was trained on synthetic images: its predictions mean nothing for real skin."
)
# Of the sources that a sentence names, and of each name.
_SHOWN_SOURCES = 4
_SHOWN_LENGTH = 40


@dataclass(frozen=True)
class Description:
    """What a model file says about itself.

    Attributes:
        model: name of the architecture.
        class_names: of the outputs, in order.
        image_size: side length of the input, pixels.
        temperature: divides the logits before the softmax.
        pixel_scaling: what to do with pixels before they enter the model.
        malignant: names of the classes that are malignant or premalignant; empty if unknown.
        class_titles: what to call a class in a sentence, by its name; only those known.
        class_aliases: further labels that data sets have, and the class that each stands for.
        data_name: name of the data that it was trained on; empty if unknown.
        sources: number of training images by source, the collection that they come from; empty if
            unknown.
        date: of the training, ISO 8601; empty if unknown.
        synthetic: whether generated images were among those that it was trained on.
        melanomas: `split` ("validation" or "test"), `count` of the melanomas in it, and how many of
            them it `missed`, that is, predicted as another class; None if unknown.
        train_image_ids: images of the training split.
        train_lesion_ids: their lesions.
        train_patient_ids: their patients; empty if unknown.
        train_pixel_hashes: their pixels, see `data.duplicates.pack_hashes`; empty if unknown.
        validation_image_ids: images of the validation split.
        validation_lesion_ids: their lesions.
        validation_patient_ids: their patients.
        validation_pixel_hashes: their pixels.
        confidence_threshold: predictions of lower confidence are uncertain; None if unknown.
        threshold_accuracy: fraction of correct predictions among the validation images with at
            least this confidence.
        detector: for out-of-distribution images, see `models.novelty.read_detector`; None without.
        photograph_threshold: images with a higher score, see `models.photographs`, are photographs
            without a dermatoscope; None if the model cannot tell.
        operating_points: thresholds of the scores of the tasks `malignant` and `melanoma`, each by
            its name such as "specificity_0.90", which they reach on the validation images; None if
            unknown.
        prediction_sets: `coverage` and, by class, `thresholds`, see `models.conformal`; or None.
        format: version of this description.
    """

    model: str
    class_names: tuple[str, ...]
    image_size: int
    temperature: float = 1.0
    pixel_scaling: str = PIXEL_SCALING
    malignant: tuple[str, ...] = ()
    class_titles: dict[str, str] = field(default_factory=dict)
    class_aliases: dict[str, str] = field(default_factory=dict)
    data_name: str = ""
    sources: dict[str, int] = field(default_factory=dict)
    date: str = ""
    synthetic: bool = False
    melanomas: dict | None = None
    train_image_ids: tuple[str, ...] = ()
    train_lesion_ids: tuple[str, ...] = ()
    train_patient_ids: tuple[str, ...] = ()
    train_pixel_hashes: str = ""
    validation_image_ids: tuple[str, ...] = ()
    validation_lesion_ids: tuple[str, ...] = ()
    validation_patient_ids: tuple[str, ...] = ()
    validation_pixel_hashes: str = ""
    confidence_threshold: float | None = None
    threshold_accuracy: float | None = None
    detector: dict | None = None
    photograph_threshold: float | None = None
    operating_points: dict | None = None
    prediction_sets: dict | None = None
    format: int = FORMAT

    @property
    def origin(self) -> str:
        """What it was trained on, how many images and when, to follow the name of the model."""
        count = len(self.train_image_ids)
        if not count:
            images = "synthetic images" if self.synthetic else "unknown images"
        elif self.synthetic:
            images = f"{count:,} synthetic images"
        else:
            images = f"{count:,} images{self._describe_sources()}"
        return f"trained on {images}, {self.date or 'on an unknown date'}"

    def _describe_sources(self) -> str:
        """Return the name of the data and, if there are several, its sources, to follow `images`.

        Sources that are the folders of the data are named once.
        """
        name = f" of {self.data_name or 'an unknown data set'}"
        counts = sorted(self.sources.items(), key=lambda item: -item[1])
        # Those of the model that the training started from, which may not know their source.
        rest = len(self.train_image_ids) - sum(self.sources.values())
        if counts and rest > 0:
            counts.append(("unknown", rest))
        if len(counts) < 2:
            return name
        if set(self.sources) == set(self.data_name.split(" + ")):
            name = ""
        listed = (f"{_cut(source)} {count:,}" for source, count in counts)
        return f"{name} ({list_names(listed, _SHOWN_SOURCES)})"

    @property
    def calibration_note(self) -> str:
        """For which images the probabilities hold, as a sentence."""
        if self.temperature == 1.0 or self.synthetic:
            return "Its probabilities are not calibrated."
        return (
            "Its confidence is calibrated for images like those it was trained on; the "
            "probabilities of rare classes tend to be too high, and on images from other clinics "
            "it is usually overconfident."
        )

    @property
    def melanoma_note(self) -> str:
        """How many melanomas it misses, as a sentence; also if that is not known."""
        # Generated melanomas tell nothing.
        if self.melanomas is None or self.synthetic:
            return "It is not known how many melanomas this model misses."
        return (
            "Of the {count:,} melanomas among its {split} images, this model predicted another "
            "class for {missed:,}.".format(**self.melanomas)
        )


def read_description(values: Mapping[str, Any]) -> Description:
    """Build a description from the values in a file, of this or an older format.

    The values are not checked; see `check_description`.

    Args:
        values: the fields as JSON values.

    Raises:
        TypeError: there are unknown fields, some are missing, or they cannot be upgraded.
    """
    if values.get("format") in _OLDEST_FORMATS:
        values = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
        values |= {
            "malignant": [name for name in _OLD_MALIGNANT if name in values["class_names"]],
            "synthetic": are_synthetic(
                values.get("train_image_ids", ()), values.get("train_lesion_ids", ())
            ),
        }
    if values.get("format") in _OLD_FORMATS:
        values = {**values, "format": FORMAT}
    return Description(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    )


def are_synthetic(image_ids: Collection[str], lesion_ids: Collection[str]) -> bool:
    """Tell by their ids whether images are generated by `data.sample`, at least some of them.

    Args:
        image_ids: of the images.
        lesion_ids: their lesions; labels without them, such as folders of classes, have others.
    """
    if any(str(name).startswith(SYNTHETIC_LESIONS) for name in lesion_ids):
        return True
    return bool(image_ids) and all(str(name).startswith(SYNTHETIC_IMAGES) for name in image_ids)


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
    strings = ("a list of strings", are_strings)
    fraction = ("a fraction in 0..1 or null", is_fraction_or_none)
    hashes = (f"base64 of hashes of {HASH_BYTES} bytes", are_hashes)
    checks = {
        "model": (f"one line of at most {MAX_NAME_LENGTH} characters", is_name),
        "pixel_scaling": (f"one line of at most {MAX_NAME_LENGTH} characters", is_name),
        "class_names": ("two or more different names without slashes", are_class_names),
        **_class_checks(description),
        "data_name": (f"one line of at most {MAX_NAME_LENGTH} characters", is_name),
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
    for name, (expected, is_valid) in checks.items():
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


def find_description(config: Any) -> Description:
    """Return the description in the configuration of a saved model, not checked.

    Args:
        config: the JSON values of `config.json`.

    Raises:
        LookupError: there is none.
        TypeError: there is none, or it cannot be read.
    """
    return read_description(config["config"]["layers"][-1]["config"]["description"])


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


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_LENGTH else f"{name[: _SHOWN_LENGTH - 1].rstrip()}…"
