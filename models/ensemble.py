"""Several models asked together: the mean of their probabilities, and how far they disagree."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from models import ModelError
from models.classifier import Classifier, load_classifier
from models.description import Description
from models.field_checks import HASH_BYTES, MAX_NAME_LENGTH
from models.predictions import BaseClassifier, Predictions

# Of the fields of a description: what all members must agree on.
_SHARED = {"class_names": "classes", "image_size": "image size", "malignant": "malignant classes"}
_PARTS = ("train", "validation")
_IDS = ("image_ids", "lesion_ids", "patient_ids")


@dataclass(frozen=True, kw_only=True)
class EnsembleDescription(Description):
    """What an ensemble says about itself; it knows the images that any of its members knows."""

    @property
    def origin(self) -> str:
        """What it was trained on, how many images and when, to follow the name of the model."""
        # The number of images of each source is known of each member, not of all together.
        data = f"images of {self.data_name or 'unknown data sets'}"
        images = f"{len(self.train_image_ids):,} {'synthetic images' if self.synthetic else data}"
        return f"trained on {images}, {self.date or 'on unknown dates'}"


class Ensemble(BaseClassifier):
    """Asks several models and averages their calibrated probabilities.

    An image is uncertain if the confidence is below the mean of the members' thresholds, and out of
    distribution if at least half of the members that can tell say so.

    Args:
        members: at least two, of the same classes and, unless they are folds, image size.

    Attributes:
        members: as given.
        description: of all members together, see `describe_ensemble`.
        can_explain: whether all members give heat maps.

    Raises:
        ModelError: the members do not fit together.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        self.members = tuple(members)
        self.path = None
        self.description = describe_ensemble(self.members)
        self.can_explain = all(member.can_explain for member in self.members)

    @property
    def engine(self) -> str:
        """What computes the predictions, with its version, for display."""
        return ", ".join(dict.fromkeys(member.engine for member in self.members))

    @property
    def missing_warnings(self) -> str:
        """Which warnings members cannot give; empty if all give all."""
        return " ".join(
            f"{member.path}: {member.missing_warnings}"
            for member in self.members
            if member.missing_warnings
        )

    def __call__(self, images: np.ndarray, *, tta: bool = False) -> Predictions:
        """Predict a batch; see `models.classifier.Classifier`.

        Raises:
            ModelError: the members are folds with different image sizes.
        """
        _check_shared(self.members, ("image_size",))
        parts = [member(images, tta=tta) for member in self.members]
        by_member = np.stack([part.y_prob for part in parts])
        y_prob = by_member.mean(axis=0)
        flags = [part.out_of_distribution for part in parts]
        flags = [flag for flag in flags if flag is not None]
        return Predictions(
            y_prob=y_prob,
            uncalibrated=np.mean([part.uncalibrated for part in parts], axis=0),
            uncertain=self.find_uncertain(y_prob),
            out_of_distribution=np.mean(flags, axis=0) >= 0.5 if flags else None,
            disagreement=mutual_information(by_member),
        )

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute the mean of the members' Grad-CAM heat maps, scaled to a maximum of 1.

        Args:
            images: as for `models.classifier.Classifier.explain`.
            class_indices: int `[images]`, the class to explain for each image.

        Returns:
            float32 `[images, image_size, image_size]` in 0..1.

        Raises:
            ModelError: a member is no `.keras` file.
        """
        heat_maps = np.mean([m.explain(images, class_indices) for m in self.members], axis=0)
        highest = heat_maps.max(axis=(1, 2), keepdims=True, initial=0.0)
        return (heat_maps / np.where(highest > 0, highest, 1)).astype(np.float32)

    def prepare_explanations(self) -> None:
        """Make the first call of `explain` as quick as the others."""
        for member in self.members:
            member.prepare_explanations()


def mutual_information(y_prob: np.ndarray) -> np.ndarray:
    """Return how far models disagree about each image, in nats.

    The entropy of their mean probabilities minus the mean of their entropies: Gal et al., *Deep
    Bayesian Active Learning with Image Data* (2017), arXiv:1703.02910, section 4. It is 0 where all
    predict the same probabilities, however uncertain, and at most the logarithm of the number of
    models.

    Args:
        y_prob: float `[models, images, classes]`.

    Returns:
        float64 `[images]`, at least 0.
    """
    y_prob = y_prob.astype(np.float64)
    return (_entropy(y_prob.mean(axis=0)) - _entropy(y_prob).mean(axis=0)).clip(0)


def load_predictor(
    paths: Sequence[str | os.PathLike], *, engine: str = "keras"
) -> Classifier | Ensemble:
    """Load one model, or several as an ensemble.

    Args:
        paths: `.keras`, `.tflite` or `.onnx` files, at least one.
        engine: see `load_classifier`.

    Raises:
        ModelError: a file is missing, no model of this project, given twice, or does not fit the
            others.
    """
    given = Counter(os.path.realpath(path) for path in paths)
    if twice := [path for path in paths if given[os.path.realpath(path)] > 1]:
        raise ModelError(f"expected different models, received {twice[0]} twice; give it once")
    members = [load_classifier(path, engine=engine) for path in paths]
    return members[0] if len(members) == 1 else Ensemble(members)


def describe_ensemble(members: Sequence[Classifier]) -> EnsembleDescription:
    """Describe models that are asked together.

    The images that any member was trained on are training images; validation images are those that
    validated members and trained none.

    Args:
        members: at least two.

    Raises:
        ModelError: they have different classes or image sizes.
    """
    descriptions = [member.description for member in members]
    first = descriptions[0]
    # Out of fold, each image is predicted by one model, at its own size.
    folds = are_folds(descriptions)
    _check_shared(members, [name for name in _SHARED if not (folds and name == "image_size")])
    counts = Counter(other.model for other in descriptions)
    names = [name if count == 1 else f"{count} x {name}" for name, count in counts.items()]
    dates = sorted({other.date for other in descriptions} - {""})
    if len(dates) > 2:
        dates = [dates[0], dates[-1]]
    thresholds = [other.confidence_threshold for other in descriptions]
    accuracies = [other.threshold_accuracy for other in descriptions]
    can_doubt = None not in thresholds and None not in accuracies
    known = _join_known(descriptions)
    sources: dict[str, int] = {}
    for other in descriptions:
        for name, count in other.sources.items():
            sources[name] = max(count, sources.get(name, 0))
    data_names = dict.fromkeys(name for d in descriptions for name in d.data_name.split(" + "))
    return EnsembleDescription(
        **{field.name: getattr(first, field.name) for field in fields(Description)}
        | {
            "model": f"ensemble of {', '.join(names)}"[:MAX_NAME_LENGTH],
            "temperature": float(np.mean([other.temperature for other in descriptions])),
            "data_name": " + ".join(filter(None, data_names))[:MAX_NAME_LENGTH],
            "sources": sources,
            "date": " to ".join(dates),
            "synthetic": any(other.synthetic for other in descriptions),
            "melanomas": None,
            "confidence_threshold": float(np.mean(thresholds)) if can_doubt else None,
            "threshold_accuracy": float(np.mean(accuracies)) if can_doubt else None,
            "detector": None,
            # Those of the members were not fitted to the mean of the probabilities.
            "operating_points": None,
            "prediction_sets": None,
            **known,
        }
    )


def _check_shared(members: Sequence[Classifier], names: Collection[str]) -> None:
    """Check that models agree on some fields of their descriptions.

    Raises:
        ModelError: they do not.
    """
    for name in names:
        expected = getattr(members[0].description, name)
        for member in members[1:]:
            received = getattr(member.description, name)
            if received != expected:
                raise ModelError(
                    f"expected models of the same {_SHARED[name]} to ask together, received "
                    f"{members[0].path} with {_show(expected)} and {member.path} with "
                    f"{_show(received)}; evaluate them one by one"
                )


def are_folds(descriptions: Sequence[Description]) -> bool:
    """Tell whether models are the folds of one split.

    That is: each validation image of one was a training image of all others.

    Args:
        descriptions: of the models.
    """
    if len(descriptions) < 2:
        return False
    validation = [set(d.validation_image_ids) for d in descriptions]
    training = [set(d.train_image_ids) for d in descriptions]
    return all(validation) and all(
        own <= other
        for i, own in enumerate(validation)
        for j, other in enumerate(training)
        if i != j
    )


def _join_known(descriptions: Sequence[Description]) -> dict[str, tuple[str, ...] | str]:
    """Return the fields that say which images the members know."""
    joined: dict[str, tuple[str, ...] | str] = {}
    for name in _IDS:
        train, validation = (
            {value for d in descriptions for value in getattr(d, f"{part}_{name}")}
            for part in _PARTS
        )
        joined[f"train_{name}"] = tuple(sorted(train))
        joined[f"validation_{name}"] = tuple(sorted(validation - train))
    train, validation = (
        _unpack(getattr(d, f"{part}_pixel_hashes") for d in descriptions) for part in _PARTS
    )
    joined["train_pixel_hashes"] = _pack(train)
    joined["validation_pixel_hashes"] = _pack(validation - train)
    return joined


def _unpack(packed: Iterable[str]) -> set[bytes]:
    """Return all hashes of several descriptions."""
    contents = [base64.b64decode(text) for text in packed]
    return {
        content[start : start + HASH_BYTES]
        for content in contents
        for start in range(0, len(content), HASH_BYTES)
    }


def _pack(hashes: set[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(hashes))).decode("ascii")


def _show(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _entropy(y_prob: np.ndarray) -> np.ndarray:
    """Return the entropy over the last axis, in nats."""
    return -(y_prob * np.log(np.maximum(y_prob, 1e-300))).sum(axis=-1)
