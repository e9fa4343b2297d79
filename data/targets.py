"""What the loss takes: labels as numbers, and the weights of the classes."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from data import DataError


def class_indices(labels: Iterable[str], class_names: Sequence[str]) -> np.ndarray:
    """Encode labels as class indices.

    Args:
        labels: class names.
        class_names: all classes, in the order of the model's outputs.

    Returns:
        int64 `[labels]`.

    Raises:
        DataError: a label is not a class.
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    labels = list(labels)
    if unknown := sorted(set(labels) - set(index_of)):
        raise DataError(
            f"expected labels among {', '.join(class_names)}, received {', '.join(unknown)}"
        )
    return np.array([index_of[label] for label in labels], np.int64)


def one_hot(labels: Iterable[str], class_names: Sequence[str]) -> np.ndarray:
    """Encode labels one-hot: float32 `[labels, classes]`; see `class_indices`."""
    return np.eye(len(class_names), dtype=np.float32)[class_indices(labels, class_names)]


def class_weights(
    labels: pd.Series, mode: str, class_names: Sequence[str], draws: np.ndarray | None = None
) -> dict[str, float]:
    """Return the weight of each class in the loss.

    Args:
        labels: one of the classes for each training image.
        mode: `none` (all 1), `balanced` (inverse frequency) or `sqrt` (its square root).
        class_names: all classes.
        draws: float `[labels]`, how often each image is drawn in an epoch; by default once.

    Returns:
        A weight for each class, scaled so that their mean over the images that are drawn is 1; a
        class without images has weight 1.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[mode]
    counts = _count_drawn(labels, class_names, draws)
    raw = counts.where(counts > 0, 1).astype(float) ** -power
    scale = counts.sum() / (raw * counts).sum()
    return {name: float(raw[name] * scale) if counts[name] else 1.0 for name in class_names}


def class_fractions(
    labels: pd.Series, class_names: Sequence[str], draws: np.ndarray | None = None
) -> np.ndarray:
    """Return the fraction of the images in each class.

    Args:
        labels: one of the classes for each image.
        class_names: all classes, in the order of the model's outputs.
        draws: as for `class_weights`.

    Returns:
        float64 `[classes]`; a class without images counts as one
        image, so that the logarithm of its fraction is finite.
    """
    counts = _count_drawn(labels, class_names, draws)
    counts = counts.where(counts > 0, 1)
    return (counts / counts.sum()).to_numpy()


def _count_drawn(
    labels: pd.Series, class_names: Sequence[str], draws: np.ndarray | None
) -> pd.Series:
    """Return how many images of each class are drawn in an epoch."""
    if draws is None:
        return labels.value_counts().reindex(class_names, fill_value=0)
    counts = pd.Series(draws).groupby(labels.to_numpy()).sum()
    return counts.reindex(class_names, fill_value=0.0)
