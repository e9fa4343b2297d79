"""Detecting out-of-distribution images by the features of the model."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import numpy as np

from models import ModelError

_MAX_FEATURES, _MAX_COMPONENTS = 8192, 256
# In a model file; half precision is enough for the components, most of the bytes.
_ARRAYS = {"mean": "<f4", "variances": "<f4", "components": "<f2"}
_NUMBERS = ("residual_variance", "threshold")


@dataclass(frozen=True)
class NoveltyDetector:
    """Measures how far the features of an image lie from those of the training images.

    The features are scaled to equal length first: their strength says how much there is to see,
    which differs among lesions, too. Then probabilistic principal component analysis (Tipping &
    Bishop, *Probabilistic Principal Component Analysis*, J. R. Stat. Soc. B 61 (1999), 611-622): a
    Gaussian with a variance for each of the first components and one variance for all others.

    Attributes:
        mean: float32 `[features]`, of the training images.
        variances: float32 `[components]`, along the components.
        components: float16 `[components, features]`, orthonormal rows.
        residual_variance: in each direction outside the components.
        threshold: images with a higher score are out of distribution.
    """

    mean: np.ndarray
    variances: np.ndarray
    components: np.ndarray
    residual_variance: float
    threshold: float = math.inf

    def score(self, features: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance from the mean, divided by the features' number.

        Args:
            features: float `[images, features]`, from `models.classifier.Classifier.features`.

        Returns:
            float64 `[images]`, about 1 for images like those of the training.
        """
        centered = _scale_to_equal_length(features) - self.mean
        # Not `@`: the threads of its library keep spinning, which slows the model by a quarter.
        components = self.components.astype(np.float64, order="C")
        inside = np.einsum("if,cf->ic", centered, components)
        outside = np.maximum((centered**2).sum(axis=1) - (inside**2).sum(axis=1), 0)
        distance = (inside**2 / self.variances).sum(axis=1) + outside / self.residual_variance
        return distance / len(self.mean)

    def to_config(self) -> dict:
        """Return the detector as JSON values, arrays as base64."""
        arrays = {
            name: base64.b64encode(getattr(self, name).astype(kind).tobytes()).decode()
            for name, kind in _ARRAYS.items()
        }
        return arrays | {name: float(getattr(self, name)) for name in _NUMBERS}


def fit_detector(features: np.ndarray, *, components: int) -> NoveltyDetector:
    """Fit a detector, without a threshold, to the features of the training images.

    Args:
        features: float `[images, features]`, at least two images.
        components: number of directions with a variance of their own; at most a quarter of the
            images and half of the features are used.
    """
    # Only trainings need it, and its import takes a second.
    from sklearn.decomposition import PCA

    count, width = features.shape
    components = max(1, min(components, count // 4, width // 2))
    with np.errstate(invalid="ignore"):  # PCA divides by the total variance, which may be 0
        pca = PCA(components, svd_solver="covariance_eigh").fit(_scale_to_equal_length(features))
    # From the unbiased estimate to that of the maximum likelihood.
    factor = (count - 1) / count
    return NoveltyDetector(
        mean=pca.mean_.astype(np.float32),
        variances=np.maximum(factor * pca.explained_variance_, 1e-6).astype(np.float32),
        components=pca.components_.astype(np.float16),
        residual_variance=max(factor * float(pca.noise_variance_), 1e-6),
    )


def read_detector(config: dict | None, *, features: int) -> NoveltyDetector | None:
    """Rebuild a detector from the description in a model file.

    Args:
        config: from `NoveltyDetector.to_config`, in a file that may have been written by anybody;
            None for a model without detector.
        features: number of features of the model.

    Returns:
        The detector, or None for None.

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
            raise ValueError(f"arrays that do not fit {features} features")
        positive = (*arrays["variances"], numbers["residual_variance"])
        if (
            not all(np.isfinite(array).all() for array in arrays.values())
            or not all(0 < value < math.inf for value in positive)
            or not 0 <= numbers["threshold"] < math.inf
        ):
            raise ValueError("values that are not finite, or variances that are not above 0")
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            "expected a detector of out-of-distribution images that fits the model, received "
            f"{str(error)[:100]}; train the model again"
        ) from error
    arrays["components"] = arrays["components"].reshape(count, features)
    return NoveltyDetector(**arrays, **numbers)


def _scale_to_equal_length(features: np.ndarray) -> np.ndarray:
    """Return float64 rows with a mean square of 1; rows of zeros stay as they are."""
    features = features.astype(np.float64)
    length = np.sqrt((features**2).mean(axis=1, keepdims=True))
    return features / np.where(length > 0, length, 1)


def _read_array(text: str, kind: str) -> np.ndarray:
    limit = _MAX_FEATURES * _MAX_COMPONENTS * 2
    if not isinstance(text, str) or not 0 < len(text) <= limit * 4 // 3 + 4:
        raise ValueError("an array that is not text, is empty or too long")
    return np.frombuffer(base64.b64decode(text, validate=True), kind)
