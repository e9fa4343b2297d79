"""From models and labeled images to predictions, and to what the metrics need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from config import EvaluateConfig
from data import DataError
from data.artifact_tables import read_artifacts
from data.batches import iterate_batches
from data.folders import find_masks
from data.groups import describe_grouping
from data.ham10000 import confirmed_by_histology, subgroup_columns
from data.images import load_masks
from data.provenance import compare_sources
from data.targets import class_indices
from metrics.evaluation import Evaluation
from metrics.localization import compare_with_masks, pointing_game
from metrics.occlusion import Occlusion
from models.predictions import Predictions, join_predictions
from support.terminal import Progress
from training.occlusion import predict_occluded
from training.selection import Selection


@dataclass(frozen=True)
class PredictedImages:
    """The predictions for the images that could be read.

    Attributes:
        frame: their rows; `part` is the index of the part of the selection that predicted them.
        predictions: with the warnings.
        evaluation: the same as the metrics need them.
    """

    frame: pd.DataFrame
    predictions: Predictions
    evaluation: Evaluation


def predict(selection: Selection, data_dir: str, settings: EvaluateConfig) -> PredictedImages:
    """Predict all images and, where there are masks, compare heat maps and hide parts with them.

    Images that cannot be read are named on stderr.

    Args:
        selection: models and images.
        data_dir: folder of the images, in which masks are looked for.
        settings: batch size and test-time augmentation.

    Raises:
        DataError: no image can be read.
    """
    progress, total = Progress("evaluating"), sum(len(frame) for _, frame in selection.parts)
    masks = find_masks(data_dir) if all(m.can_explain for m, _ in selection.parts) else {}
    rows, batches, comparisons, done = [], [], [], 0
    for part, (classifier, frame) in enumerate(selection.parts):
        image_size = classifier.description.image_size
        for indices, images, failures in iterate_batches(
            frame["path"].tolist(), image_size=image_size, batch_size=settings.batch_size
        ):
            chosen, predictions = frame.iloc[indices], classifier(images, tta=settings.tta)
            rows.append(chosen.assign(part=part))
            batches.append(predictions)
            mask_paths = [masks.get(image_id) for image_id in chosen["image_id"]]
            masked, found, mask_failures = load_masks(mask_paths, image_size, chosen["path"])
            if masked:
                heat_maps = classifier.explain(images[masked], predictions.class_indices[masked])
                comparisons.append(compare_with_masks(heat_maps, found))
            progress.clear()
            for message in [*failures.values(), *mask_failures]:
                print(f"skipped {message}", file=sys.stderr)
            done += len(indices) + len(failures)
            progress.update(done, total)
    frame = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
    if frame.empty:
        raise DataError(f"expected readable images, received {total} that cannot be read")
    predictions = join_predictions(batches)
    occlusion = predict_occluded([model for model, _ in selection.parts], frame, masks, settings)
    evaluation = _build_evaluation(selection, data_dir, frame, predictions, comparisons, occlusion)
    return PredictedImages(frame, predictions, evaluation)


def _build_evaluation(
    selection: Selection,
    data_dir: str,
    frame: pd.DataFrame,
    predictions: Predictions,
    comparisons: Sequence[np.ndarray],
    occlusion: Occlusion | None,
) -> Evaluation:
    """Return predictions, heat maps and hidden parts as the metrics need them."""
    description = selection.description
    sources, trained_on = compare_sources(frame, data_dir, description)
    return Evaluation(
        class_names=description.class_names,
        y_true=class_indices(frame["label"], description.class_names),
        y_prob=predictions.y_prob,
        uncalibrated=predictions.uncalibrated,
        temperature=description.temperature,
        lesion_ids=frame["group"].tolist(),
        subgroups=subgroup_columns(frame),
        localization=pointing_game(np.concatenate(comparisons)) if comparisons else None,
        sources=sources,
        trained_on=trained_on,
        folds=frame["part"].tolist() if selection.is_out_of_fold else (),
        thresholds=description.operating_points or {},
        sets=predictions.prediction_set if description.prediction_sets else None,
        histology=confirmed_by_histology(frame),
        image_ids=frame["image_id"].tolist(),
        grouping=describe_grouping(frame),
        artifacts=read_artifacts(data_dir, frame["image_id"].tolist()),
        occlusion=occlusion,
        set_coverage=description.set_coverage,
    )
