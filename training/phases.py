"""The phases of a training: which layers train, at which learning rate, on which image size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from config import TrainConfig
from models.applications import find_backbone

_STRIDE = 32


@dataclass(frozen=True)
class Phase:
    """A number of epochs with the same trainable layers and image size.

    Attributes:
        name: shown to the user.
        epochs: its length.
        learning_rate: peak of its schedule.
        backbone_layers: number of final backbone layers to train, -1 for all; None for a model
            without a backbone.
        image_size: side length of its images, pixels; None for the model's own.
        continues: whether it continues the learning-rate schedule of the previous phase.
        train_batch_norm: whether BatchNorm in trainable backbone layers trains, too.
    """

    name: str
    epochs: int
    learning_rate: float
    backbone_layers: int | None = None
    image_size: int | None = None
    continues: bool = False
    train_batch_norm: bool = False

    @property
    def learning_rate_setting(self) -> str:
        """Where the user sets the learning rate of this phase."""
        if self.backbone_layers == 0:
            return "head_learning_rate in config.py"
        return "--learning_rate"


def plan_phases(settings: TrainConfig) -> list[Phase]:
    """Return the phases of a training, those without epochs left out."""
    full_size = settings.image_size
    if settings.model == "sequential":
        return [Phase("train", settings.epochs, settings.learning_rate, None, full_size)]
    small_size = _STRIDE * round(full_size * settings.small_size_fraction / _STRIDE)
    backbone = find_backbone(settings.model)
    smallest = _STRIDE * -(-backbone.min_size // _STRIDE)
    small_size = min(full_size, max(smallest, small_size))
    # The position embeddings of a transformer are for one image size.
    if not backbone.takes_any_size:
        small_size = full_size
    small_epochs = 0
    if small_size < full_size:
        small_epochs = round(settings.epochs * settings.small_epochs_fraction)
    head_size = small_size if small_epochs else full_size
    fine_tune = Phase(
        "fine-tune",
        settings.epochs - small_epochs,
        settings.learning_rate,
        settings.fine_tune_layers,
        full_size,
        # Another warm-up in between would undo part of what was learned.
        continues=small_epochs > 0,
        train_batch_norm=settings.train_batch_norm,
    )
    small = replace(
        fine_tune, name="small", epochs=small_epochs, image_size=small_size, continues=False
    )
    head = Phase("head", settings.head_epochs, settings.head_learning_rate, 0, head_size)
    return [phase for phase in (head, small, fine_tune) if phase.epochs]


def schedule_epochs(phases: Sequence[Phase], index: int) -> tuple[int, int]:
    """Return how many epochs of a phase's schedule precede it, and the length of the schedule.

    Args:
        phases: all phases, in order.
        index: of the phase.
    """
    first = index
    while first and phases[first].continues:
        first -= 1
    last = index + 1
    while last < len(phases) and phases[last].continues:
        last += 1
    epochs = [phase.epochs for phase in phases]
    return sum(epochs[first:index]), sum(epochs[first:last])
