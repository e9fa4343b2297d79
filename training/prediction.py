"""What `predict.py`, the page and `cluster.predict` share: the operating point and the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data.classes import binary_tasks
from metrics.decision import OperatingPoint, choose_point
from metrics.prediction_table import DECIMALS, PredictionWriter, prediction_table
from models.description import Description
from models.predictions import Predictions
from support.cli import naming_flag
from training.submission import choose_submission

if TYPE_CHECKING:
    import pandas as pd


def choose_operating_point(text: str | None, description: Description) -> OperatingPoint | None:
    """Return the operating point of a model that `--operating_point` names.

    Args:
        text: such as `malignant=sensitivity_0.90`; None for no decision.
        description: of the model.

    Raises:
        InputError: the model has no such point.
    """
    if text is None:
        return None
    tasks = binary_tasks(description.class_names, description.malignant)
    with naming_flag("--operating_point"):
        return choose_point(text, description.operating_points or {}, tasks)


def build_table(
    images: Sequence[str],
    predictions: Predictions,
    class_names: Sequence[str],
    point: OperatingPoint | None,
) -> pd.DataFrame:
    """Build the table of all that a model tells about images; see `prediction_table`.

    Args:
        images: their names or paths.
        predictions: for them.
        class_names: of the model.
        point: adds a column with its decisions; None for none.
    """
    decisions = point.columns(predictions.y_prob, class_names) if point else {}
    return prediction_table(
        images, predictions.y_prob, class_names, **predictions.columns, decisions=decisions
    )


class PredictionTable(PredictionWriter):
    """Writes what a model predicts for images, batch by batch; a context manager.

    Args:
        path: ends in `.csv` or `.json`.
        columns: as for `choose_submission`; None for all that the model tells.
        description: of the model.
        images: paths of all images.
        point: adds a column with its decisions; None for none.

    Raises:
        DataError: as for `Submission`.
        InputError: the path has another suffix.
    """

    def __init__(
        self,
        path: str,
        columns: str | None,
        description: Description,
        images: Sequence[str],
        point: OperatingPoint | None,
    ) -> None:
        self.submission = choose_submission(columns, description, images)
        self.class_names, self.point = description.class_names, point
        super().__init__(path, decimals=self.submission.decimals if self.submission else DECIMALS)

    def add(self, images: Sequence[str], predictions: Predictions) -> None:
        """Append the rows of a batch.

        Args:
            images: their paths.
            predictions: for them.
        """
        if self.submission:
            self.write(self.submission.table(images, predictions.y_prob))
            return
        self.write(build_table(images, predictions, self.class_names, self.point))
