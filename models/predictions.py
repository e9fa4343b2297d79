"""What a model predicts for a batch of images, and the warnings that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from models.description import Description


@dataclass(frozen=True)
class Predictions:
    """The predictions for a batch of images, which may be empty.

    Attributes:
        y_prob: float32 `[images, classes]`, rows that sum to 1.
        uncalibrated: float64 `[images, classes]`, the same at temperature 1.
        uncertain: bool `[images]`, whether the confidence is below the threshold of the model; None
            if it has no threshold.
        out_of_distribution: bool `[images]`, whether the score of the model's detector, or that of
            photographs without a dermatoscope, is above its threshold; None if the model has
            neither threshold.
        prediction_set: bool `[images, classes]`, the classes among which the true one is in a given
            fraction of cases, see `models.conformal`; None if the model has no such sets.
        disagreement: float64 `[images]`, that of the members of an ensemble, see
            `models.ensemble.mutual_information`; None for a single model.
    """

    y_prob: np.ndarray
    uncalibrated: np.ndarray
    uncertain: np.ndarray | None
    out_of_distribution: np.ndarray | None
    prediction_set: np.ndarray | None = None
    disagreement: np.ndarray | None = None

    @property
    def class_indices(self) -> np.ndarray:
        """Index of the predicted class, int `[images]`."""
        return self.y_prob.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the predicted class, float32 `[images]`."""
        return self.y_prob.max(axis=1)

    @property
    def columns(self) -> dict[str, np.ndarray | None]:
        """What a table of predictions has besides the probabilities, by the name of its column."""
        names = ("uncertain", "out_of_distribution", "prediction_set", "disagreement")
        return {name: getattr(self, name) for name in names}


def join_predictions(batches: Sequence[Predictions]) -> Predictions:
    """Join predictions for several batches, at least one.

    What one of them lacks, such as a warning that its model cannot give, all lack.
    """

    def join(name: str) -> np.ndarray | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else np.concatenate(parts)

    return Predictions(**{field.name: join(field.name) for field in fields(Predictions)})


class BaseClassifier:
    """What one model and an ensemble of several have in common.

    Attributes:
        description: of the model.
        can_explain: whether there are heat maps.
        engine: what computes the predictions, with its version, for display.
        missing_warnings: sentences that name the warnings it cannot give; empty if it gives all.
        path: the file that it was loaded from; None for an ensemble.
    """

    description: Description
    can_explain: bool
    engine: str
    missing_warnings: str
    path: Path | None

    def __call__(self, images: np.ndarray, *, tta: bool = False) -> Predictions:
        """Predict a batch; see `models.classifier.Classifier`."""
        raise NotImplementedError

    def explain(self, images: np.ndarray, class_indices: np.ndarray) -> np.ndarray:
        """Compute heat maps; see `models.classifier.Classifier`."""
        raise NotImplementedError

    def prepare_explanations(self) -> None:
        """Make the first call of `explain` as quick as the others; see `models.network.Network`."""
        raise NotImplementedError

    def find_uncertain(self, y_prob: np.ndarray) -> np.ndarray | None:
        """Tell which predictions are uncertain; see `Predictions`.

        Args:
            y_prob: float32 `[images, classes]`.
        """
        threshold = self.description.confidence_threshold
        if threshold is None:
            return None
        # As float64, to compare with the exact threshold.
        return y_prob.max(axis=1).astype(np.float64) < threshold

    def warnings(self, predictions: Predictions) -> list[dict[str, str]]:
        """Return the warnings for each image of a batch; see `warning_texts`."""
        unknown = np.zeros(len(predictions.y_prob), bool)
        columns = (
            predictions.confidence,
            unknown if predictions.uncertain is None else predictions.uncertain,
            unknown if predictions.out_of_distribution is None else predictions.out_of_distribution,
        )
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [warning_texts(*row, self.description) for row in rows]

    def malignant_probability(self, predictions: Predictions) -> np.ndarray | None:
        """Return the summed probability of the malignant and premalignant classes of each image.

        Args:
            predictions: for a batch.

        Returns:
            float32 `[images]`, 0..1; None if the model does not know which classes are malignant.
        """
        names, malignant = self.description.class_names, self.description.malignant
        if not malignant:
            return None
        columns = [names.index(name) for name in malignant]
        return predictions.y_prob[:, columns].sum(axis=1).clip(0, 1)


def warning_texts(
    confidence: float, uncertain: bool, out_of_distribution: bool, description: Description
) -> dict[str, str]:
    """Return what a reader of a prediction should know.

    Args:
        confidence: of the prediction, in 0..1.
        uncertain: from `Predictions`.
        out_of_distribution: from `Predictions`.
        description: of the model.

    Returns:
        Sentences by kind: `out_of_distribution`, first, since it makes the prediction meaningless,
        and `uncertain`; empty if there is nothing to warn about.
    """
    texts = {}
    if out_of_distribution:
        texts["out_of_distribution"] = (
            "Does not look like a dermatoscopic image, so the prediction means nothing. The model "
            "predicts one of its classes for any image."
        )
    if uncertain:
        accuracy = f"{100 * description.threshold_accuracy:.0f} %"
        threshold = description.confidence_threshold
        texts["uncertain"] = f"Low confidence ({100 * confidence:.0f} %). " + (
            f"On validation images, predictions above {100 * threshold:.0f} % were correct "
            f"{accuracy} of the time."
            if threshold < 1
            else f"On validation images, no confidence was high enough for {accuracy} correct "
            "predictions."
        )
    return texts
