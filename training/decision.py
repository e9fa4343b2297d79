"""The operating point that a user chooses for the predictions of a model."""

from __future__ import annotations

from data.classes import binary_tasks
from metrics.decision import OperatingPoint, choose_point
from models.description import Description
from support.cli import naming_flag


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
