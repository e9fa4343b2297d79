"""How the best epoch of a training is chosen, and when a training stops early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SIGNS = {"loss": -1.0, "balanced_accuracy": 1.0}


@dataclass(frozen=True)
class EarlyStopping:
    """How the best epoch is chosen, and when a training stops early.

    Attributes:
        monitor: validation metric that chooses the best epoch, `loss` or `balanced_accuracy`.
        patience: epochs of the last phase without a new best epoch before training stops.
    """

    monitor: str
    patience: int

    def __post_init__(self) -> None:
        if self.monitor not in _SIGNS:
            raise ValueError(
                f"monitor should be one of {', '.join(_SIGNS)}, received {self.monitor!r}"
            )

    def score(self, row: dict) -> float:
        """Return the monitored metric of an epoch, with the sign that makes higher better."""
        return _SIGNS[self.monitor] * row[f"val_{self.monitor}"]

    def find_best(self, history: Sequence[dict]) -> int:
        """Return the number of the best epoch, from 1; of several, the first.

        Args:
            history: the metrics of each epoch, at least one.
        """
        return 1 + max(range(len(history)), key=lambda index: self.score(history[index]))
