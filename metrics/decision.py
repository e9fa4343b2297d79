"""The decision at an operating point of a model, which validation images fixed: called, or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.numbers import format_percent
from metrics.operating_points import format_point, positive_score
from support import InputError


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of the score of a binary task.

    Attributes:
        task: `malignant` or `melanoma`.
        name: what the validation images fixed, such as `sensitivity_0.90`.
        threshold: scores at or above it are called positive.
        positive: the classes whose summed probability is the score.
    """

    task: str
    name: str
    threshold: float
    positive: tuple[str, ...]

    def columns(self, y_prob: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the column of a table of predictions: which images are called positive.

        Args:
            y_prob: float `[images, classes]`.
            class_names: names of the columns of `y_prob`.

        Returns:
            bool `[images]`, by its name, such as `malignant_at_sensitivity_0.90`.
        """
        called = positive_score(y_prob, class_names, self.positive) >= self.threshold
        return {f"{self.task}_at_{self.name}": called}

    def decide(self, y_prob: Mapping[str, float]) -> tuple[str, str]:
        """Return what is decided for one image in a few words, and in a sentence that says why.

        Args:
            y_prob: probability by class name.
        """
        row = np.array([list(y_prob.values())])
        (score,) = positive_score(row, list(y_prob), self.positive)
        called = score >= self.threshold
        decision = f"called {self.task}" if called else f"not called {self.task}"
        relation = "reaches" if called else "is below"
        return decision, (
            f"At {format_point(self.name)} on validation images: {decision}, since "
            f"{format_percent(score)} {relation} the threshold of {format_percent(self.threshold)}"
        )


def choose_point(
    text: str,
    points: Mapping[str, Mapping[str, float]],
    binary_tasks: Mapping[str, Sequence[str]],
) -> OperatingPoint:
    """Return the operating point that a user names.

    Args:
        text: such as `malignant=sensitivity_0.90`.
        points: thresholds by task and name, as a model has them; empty if it has none.
        binary_tasks: the positive classes of each task.

    Raises:
        InputError: the model has no such point.
    """
    points = {task: names for task, names in points.items() if task in binary_tasks}
    if not points:
        raise InputError(
            "this model has no operating points: it is an ensemble, was written before models had "
            "them, or had too few validation images; choose another model, or leave the flag out"
        )
    task, _, name = text.partition("=")
    threshold = points.get(task, {}).get(name)
    if threshold is None:
        known = [f"{task}={name}" for task, names in points.items() for name in names]
        raise InputError(f"expected one of {', '.join(known)}, received {text!r:.80}")
    return OperatingPoint(task, name, threshold, tuple(binary_tasks[task]))
