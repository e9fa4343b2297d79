"""Whether a picture looks like those that a model learned from, by the model's own features."""

import base64
import binascii
import math
from dataclasses import dataclass

import numpy as np

from models import ModelError

_MAX_FEATURES, _MAX_COMPONENTS = 8192, 256
_ARRAYS = {"mean": "<f4", "variances": "<f4", "components": "<f2"}
_NUMBERS = ("residual_variance", "threshold")


@dataclass(frozen=True)
class NoveltyDetector:
    """How far the direction of a picture's features lies from those of the training pictures.

    The features are brought to equal length first: how strong they are says how much there is to
    see, and lesions differ in that, too. Then probabilistic principal component analysis (Tipping
    & Bishop, *Probabilistic Principal Component Analysis*, J. R. Stat. Soc. B 61 (1999), 611-622):
    a Gaussian with its own variance along the first components and one variance for all the rest.

    Attributes:
        mean: float32 `[features]`, of the training pictures.
        variances: float32 `[components]`, along the components.
        components: float16 `[components, features]`, orthonormal rows.
        residual_variance: of each direction outside the components.
        threshold: scores above it are unlike the training pictures.
    """

    mean: np.ndarray
    variances: np.ndarray
    components: np.ndarray
    residual_variance: float
    threshold: float = math.inf

    def score(self, features: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance from the mean, divided by the features' number.

        Args:
            features: float `[images, features]`, from `models.inference.FeatureReader`.

        Returns:
            float64 `[images]`, about 1 for pictures like those of the training.
        """
        away = _equal_length(features) - self.mean
        # Not `@`: its threads go on spinning for a while, and take a quarter of the model's speed.
        components = self.components.astype(np.float64, order="C")
        inside = np.einsum("if,cf->ic", away, components)
        outside = np.maximum((away**2).sum(axis=1) - (inside**2).sum(axis=1), 0)
        distance = (inside**2 / self.variances).sum(axis=1) + outside / self.residual_variance
        return distance / len(self.mean)

    def to_config(self) -> dict:
        """Return it as JSON values, arrays as base64 text."""
        arrays = {
            name: base64.b64encode(getattr(self, name).astype(kind).tobytes()).decode()
            for name, kind in _ARRAYS.items()
        }
        return arrays | {name: float(getattr(self, name)) for name in _NUMBERS}


def fit_detector(features: np.ndarray, *, components: int) -> NoveltyDetector:
    """Fit a detector, without a threshold, to the training pictures.

    Args:
        features: float `[images, features]`, at least two images.
        components: directions with a variance of their own, at most; a quarter of the images and
            half of the features bound them as well.
    """
    count, width = features.shape
    components = max(1, min(components, count // 4, width // 2))
    features = _equal_length(features)
    mean = features.mean(axis=0)
    away = features - mean
    variances, vectors = np.linalg.eigh(away.T @ away / count)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    return NoveltyDetector(
        mean=mean.astype(np.float32),
        variances=np.maximum(variances[:components], 1e-6).astype(np.float32),
        components=vectors[:, :components].T.astype(np.float16),
        residual_variance=max(float(variances[components:].mean()), 1e-6),
    )


def read_detector(config: dict | None, *, features: int) -> NoveltyDetector | None:
    """Rebuild a detector from a model file.

    Args:
        config: what `to_config` returned; None for a model without a detector.
        features: how many the model has.

    Returns:
        The detector, None for None.

    Raises:
        ModelError: the values cannot be those of a detector for this model.
    """
    if config is None:
        return None
    try:
        if set(config) != {*_ARRAYS, *_NUMBERS} or not 0 < features <= _MAX_FEATURES:
            raise ValueError("other fields than a detector has")
        numbers = {name: float(config[name]) for name in _NUMBERS}
        arrays = {name: _read_array(config[name], kind) for name, kind in _ARRAYS.items()}
        count = len(arrays["variances"])
        sizes = {"mean": features, "components": count * features}
        if count > _MAX_COMPONENTS or any(len(arrays[name]) != sizes[name] for name in sizes):
            raise ValueError(f"arrays of other sizes than {features} features need")
        positive = (*arrays["variances"], numbers["residual_variance"])
        if (
            not all(np.isfinite(array).all() for array in arrays.values())
            or not all(0 < value < math.inf for value in positive)
            or not 0 <= numbers["threshold"] < math.inf
        ):
            raise ValueError("values that are no variances")
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise ModelError(
            "the model's detector for pictures of another kind should be one that train.py wrote, "
            f"received {str(error)[:100]}; train it again"
        ) from error
    arrays["components"] = arrays["components"].reshape(count, features)
    return NoveltyDetector(**arrays, **numbers)


def list_warnings(
    confidence: float,
    score: float,
    *,
    unsure_below: float | None,
    unsure_accuracy: float | None,
    detector: NoveltyDetector | None,
) -> dict[str, str]:
    """Say what a reader of an answer should know.

    Args:
        confidence: the highest probability, in 0..1.
        score: of the picture, from `NoveltyDetector.score`; not looked at without a detector.
        unsure_below: from the model's description.
        unsure_accuracy: from the model's description.
        detector: from `read_detector`.

    Returns:
        Sentences under the keys `unlike` (first, since then the answer means nothing) and `unsure`;
        empty when there is nothing to say.
    """
    found = {}
    if detector is not None and score > detector.threshold:
        found["unlike"] = (
            "This does not look like a dermatoscopic picture of a lesion, so the answer means "
            "nothing. The model knows no other pictures and names a diagnosis for anything."
        )
    if unsure_below is not None and confidence < unsure_below:
        found["unsure"] = (
            f"The model is unsure: it gives its answer only {confidence:.0%}. Of its answers with "
            f"{unsure_below:.0%} or more, {unsure_accuracy:.0%} were right."
        )
        if unsure_below >= 1:
            found["unsure"] = (
                f"The model is unsure, as always: at no confidence were {unsure_accuracy:.0%} of "
                "its answers right."
            )
    return found


def missing_warnings(*, unsure_below: float | None, detector: NoveltyDetector | None) -> str:
    """Say which warnings a model cannot give; empty when it can give both."""
    missing = []
    if unsure_below is None:
        missing.append("of unsure answers")
    if detector is None:
        missing.append("of pictures that are no dermatoscopic ones")
    return f"this model file cannot warn {' or '.join(missing)}" if missing else ""


def _equal_length(features: np.ndarray) -> np.ndarray:
    """Return float64 rows whose squares have the mean 1; rows of zeros stay."""
    features = features.astype(np.float64)
    length = np.sqrt((features**2).mean(axis=1, keepdims=True))
    return features / np.where(length > 0, length, 1)


def _read_array(text: str, kind: str) -> np.ndarray:
    limit = _MAX_FEATURES * _MAX_COMPONENTS * 2
    if not isinstance(text, str) or not 0 < len(text) <= limit * 4 // 3 + 4:
        raise ValueError("an array that is no text, or too long")
    return np.frombuffer(base64.b64decode(text, validate=True), kind)
