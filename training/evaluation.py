"""From models and labeled images to predictions, and to what the metrics need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from config import EvaluateConfig
from data import DataError
from data.artifact_tables import read_artifacts
from data.batches import iterate_batches
from data.groups import describe_grouping
from data.ham10000 import confirmed_by_histology, find_masks, subgroup_columns
from data.images import load_masks
from data.provenance import compare_sources
from data.splits import class_indices
from metrics.bootstrap import LESIONS
from metrics.evaluation import Evaluation
from metrics.localization import compare_with_masks, pointing_game
from models.description import Description
from models.ensemble import Ensemble, are_folds
from models.predictions import BaseClassifier, Predictions, join_predictions
from support.terminal import Progress
from training.dataset import select_images, select_out_of_fold
from training.occlusion import predict_occluded


@dataclass(frozen=True)
class Selection:
    """The images of an evaluation, and who predicts them.

    Attributes:
        split: name of their split.
        parts: models, and the images that each of them predicts.
        description: of the models together.
    """

    split: str
    parts: list[tuple[BaseClassifier, pd.DataFrame]]
    description: Description

    @property
    def is_out_of_fold(self) -> bool:
        """Whether each image is predicted by the model that it validated, and only by that."""
        return len(self.parts) > 1

    @property
    def frame(self) -> pd.DataFrame:
        """All images."""
        return pd.concat([frame for _, frame in self.parts], ignore_index=True)


@dataclass(frozen=True)
class Prediction:
    """The predictions for the images that could be read.

    Attributes:
        frame: their rows; `part` is the index of the part of the selection that predicted them.
        predictions: with the warnings.
        evaluation: the same as the metrics need them.
    """

    frame: pd.DataFrame
    predictions: Predictions
    evaluation: Evaluation


def select(classifier: BaseClassifier, data_dir: str, split: str | None) -> Selection:
    """Select the images of an evaluation.

    Args:
        classifier: one model or an ensemble.
        data_dir: folder of labels and images.
        split: as for `data.splits.select_split`; None for the test split, or for the validation
            images of all models if they are the folds of one split.

    Raises:
        DataError: the data set cannot be used, or no image is left.
    """
    description = classifier.description
    members = classifier.members if isinstance(classifier, Ensemble) else ()
    descriptions = [member.description for member in members]
    folds = are_folds(descriptions)
    split = split or ("val" if folds else "test")
    if folds and split == "val":
        parts = list(zip(members, select_out_of_fold(data_dir, descriptions), strict=True))
    else:
        parts = [(classifier, select_images(data_dir, split, description))]
    return Selection(split, parts, description)


def count_images(frame: pd.DataFrame) -> str:
    """Say how many images and lesions a frame has, or groups where not all lesions are known."""
    count, grouping = frame["group"].nunique(), describe_grouping(frame)
    groups = f"of {count:,} lesions" if grouping == LESIONS else f"in {count:,} groups ({grouping})"
    return f"{len(frame):,} images {groups}"


def predict(selection: Selection, data_dir: str, settings: EvaluateConfig) -> Prediction:
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
    evaluation = replace(
        _prepare(selection, data_dir, frame, predictions, comparisons),
        artifacts=read_artifacts(data_dir, frame["image_id"].tolist()),
        occlusion=predict_occluded([m for m, _ in selection.parts], frame, masks, settings),
    )
    return Prediction(frame, predictions, evaluation)


def _prepare(
    selection: Selection,
    data_dir: str,
    frame: pd.DataFrame,
    predictions: Predictions,
    comparisons: Sequence[np.ndarray],
) -> Evaluation:
    """Return predictions as the metrics need them."""
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
        set_coverage=(description.prediction_sets or {}).get("coverage"),
    )
