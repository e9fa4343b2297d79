"""What a model file says about itself: fields, checks and older formats; without TensorFlow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.files import list_names

# Format 2 added the fields for warnings, format 3 renamed them; format 4 added what the model was
# trained on, its malignant classes, the melanomas that it misses, and hashes of its images; format
# 5 added what its classes are called, other names for them, and patients; format 6 added sources;
# format 7 added operating points and prediction sets.
FORMAT = 7
# They do not say which classes are malignant, nor whether images are synthetic.
_OLDEST_FORMATS = (1, 2, 3)
_OLD_NAMES = {"unsure_below": "confidence_threshold", "unsure_accuracy": "threshold_accuracy"}
# What models of older formats, which do not say so, took as malignant.
_OLD_MALIGNANT = ("akiec", "bcc", "mel")
# How the ids of generated lesions and images begin. Some real images have such an id, no lesion.
SYNTHETIC_LESIONS = "HAM_9"
_SYNTHETIC_IMAGES = "ISIC_9"
# A batch of larger images takes gigabytes.
MAX_IMAGE_SIZE = 2048
_PIXEL_SCALING = "inside the model; feed 0..255"
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
        train_pixel_hashes: their pixels, see `data.fingerprints.pack_hashes`; empty if unknown.
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
    pixel_scaling: str = _PIXEL_SCALING
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
    def set_coverage(self) -> float | None:
        """Fraction of cases that prediction sets are meant to cover; None without such sets."""
        return None if self.prediction_sets is None else self.prediction_sets["coverage"]

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

    The values are not checked; see `models.description_checks`.

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
    if values.get("format") in range(1, FORMAT):
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
    return bool(image_ids) and all(str(name).startswith(_SYNTHETIC_IMAGES) for name in image_ids)


def find_description(config: Any) -> Description:
    """Return the description in the configuration of a saved model, not checked.

    Args:
        config: the JSON values of `config.json`.

    Raises:
        LookupError: there is none.
        TypeError: there is none, or it cannot be read.
    """
    return read_description(config["config"]["layers"][-1]["config"]["description"])


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_LENGTH else f"{name[: _SHOWN_LENGTH - 1].rstrip()}…"
