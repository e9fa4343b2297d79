"""Predict images of which the lesion, or all but the lesion, is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from config import EvaluateConfig
from data.batches import iterate_batches
from data.images import load_masks
from metrics.occlusion import Occlusion
from models.predictions import BaseClassifier
from support.terminal import Progress

# Each takes two further predictions.
MOST_IMAGES = 500


def predict_occluded(
    classifiers: Sequence[BaseClassifier],
    frame: pd.DataFrame,
    masks: Mapping[str, str],
    settings: EvaluateConfig,
    *,
    most: int = MOST_IMAGES,
) -> Occlusion | None:
    """Predict images twice: with only the lesion visible, and with only what surrounds it.

    Args:
        classifiers: of the parts of the evaluation.
        frame: the images that could be read, with the `part` of each.
        masks: path of the lesion mask by image id.
        settings: batch size and test-time augmentation.
        most: if more images have a mask, so many are drawn, by their ids: the same ones each time.

    Returns:
        None without masks. Images of which the mask covers nothing or everything are left out.
    """
    image_ids = frame["image_id"].to_numpy()
    available = [row for row in np.argsort(image_ids, kind="stable") if image_ids[row] in masks]
    if not available:
        return None
    chosen = np.array(available)
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, most, replace=False))
    progress, done = Progress("hiding lesions and surroundings"), 0
    rows, lesions, surroundings = [], [], []
    for part, classifier in enumerate(classifiers):
        own = chosen[(frame["part"].to_numpy() == part)[chosen]]
        size, paths = classifier.description.image_size, frame["path"].to_numpy()[own].tolist()
        for indices, images, failures in iterate_batches(
            paths, image_size=size, batch_size=settings.batch_size
        ):
            mask_paths = [masks[image_ids[own[i]]] for i in indices]
            masked, found, _ = load_masks(mask_paths, size, [paths[i] for i in indices])
            covered = found.mean(axis=(1, 2))
            kept = np.flatnonzero((covered > 0) & (covered < 1))
            images, found = images[masked][kept], found[kept]
            rows.append(own[indices][masked][kept])
            lesions.append(classifier(hide(images, ~found), tta=settings.tta).y_prob)
            surroundings.append(classifier(hide(images, found), tta=settings.tta).y_prob)
            done += len(indices) + len(failures)
            progress.update(done, len(chosen))
    return Occlusion(
        np.concatenate(rows), np.concatenate(lesions), np.concatenate(surroundings), len(available)
    )


def hide(images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Fill a part of each image with the mean color of the image.

    Args:
        images: uint8 `[images, height, width, 3]`.
        hidden: bool `[images, height, width]`.

    Returns:
        uint8 of the shape of `images`.
    """
    means = images.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    return np.where(hidden[..., None], means, images)
