"""The learning rate as a pure function of the step, and the optimizer that follows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import ops

from training.adam import FusedAdam

LR_SCHEDULES = ("cosine", "constant")
# Steps whose scaled gradients overflow are skipped. From Keras's 32,768 a short phase may consist
# of such steps only, and end with averages of nothing.
_INITIAL_LOSS_SCALE = 1024.0


def learning_rate_at(step, *, schedule: str, peak: float, total_steps: int, warmup_steps: int = 0):
    """Return the learning rate of a step.

    It rises linearly during the warm-up; then it stays (`constant`), or falls along half a cosine
    to zero, which it would reach at the step after the last (`cosine`; Loshchilov and Hutter, SGDR,
    ICLR 2017, without restarts).

    Args:
        step: number or tensor, the number of steps before this one.
        schedule: one of `LR_SCHEDULES`.
        peak: highest learning rate.
        total_steps: number of steps.
        warmup_steps: length of the rise; step `warmup_steps - 1` is the first at the peak.

    Returns:
        A float32 scalar tensor.
    """
    if schedule not in LR_SCHEDULES:
        raise ValueError(
            f"schedule should be one of {', '.join(LR_SCHEDULES)}, received {schedule!r}"
        )
    step = ops.cast(step, "float32")
    rising = peak * (step + 1) / max(warmup_steps, 1)
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    progress = ops.clip(progress, 0.0, 1.0)
    falling = peak * (1 + ops.cos(math.pi * progress)) / 2
    settled = falling if schedule == "cosine" else ops.full_like(falling, peak)
    return ops.where(step < warmup_steps, rising, settled)


class LearningRateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`learning_rate_at` as a Keras schedule.

    Args:
        schedule: as for `learning_rate_at`.
        peak: as for `learning_rate_at`.
        total_steps: as for `learning_rate_at`.
        warmup_steps: as for `learning_rate_at`.
        first_step: steps of the schedule that precede the optimizer's first.
    """

    def __init__(
        self,
        *,
        schedule: str,
        peak: float,
        total_steps: int,
        warmup_steps: int,
        first_step: int = 0,
    ) -> None:
        self.first_step = first_step
        self.settings = {
            "schedule": schedule,
            "peak": peak,
            "total_steps": total_steps,
            "warmup_steps": warmup_steps,
        }

    def __call__(self, step):
        """Return the learning rate of a step of the optimizer."""
        return learning_rate_at(step + self.first_step, **self.settings)

    def get_config(self) -> dict:
        """Return the arguments of the constructor."""
        return {**self.settings, "first_step": self.first_step}


@dataclass(frozen=True)
class OptimizerSettings:
    """Adam and its learning-rate schedule.

    Attributes:
        schedule: `cosine` or `constant`.
        warmup_fraction: fraction of a schedule's steps in which the rate rises.
        weight_decay: Adam's decoupled weight decay per step, relative to the learning rate.
        average_epochs: the model is validated and saved with the exponential moving average of its
            weights over about this many epochs; 0 for the weights themselves.
        mixed_precision: whether the model computes in float16, so that the loss has to be scaled.
    """

    schedule: str = "cosine"
    warmup_fraction: float = 0.1
    weight_decay: float = 0.0
    average_epochs: float = 0.0
    mixed_precision: bool = False

    def build_schedule(
        self, peak: float, *, total_steps: int, first_step: int
    ) -> LearningRateSchedule:
        """Build the schedule of a phase.

        Args:
            peak: highest learning rate.
            total_steps: length of the schedule.
            first_step: steps of the schedule that precede the phase.
        """
        return LearningRateSchedule(
            schedule=self.schedule,
            peak=peak,
            total_steps=total_steps,
            warmup_steps=round(total_steps * self.warmup_fraction),
            first_step=first_step,
        )

    def build_optimizer(
        self, schedule: LearningRateSchedule, *, average_steps: float
    ) -> keras.optimizers.Optimizer:
        """Build the optimizer of a phase.

        Args:
            schedule: of its learning rate.
            average_steps: steps that the average of the weights spans, 0 for no average.
        """
        optimizer = FusedAdam(
            schedule,
            decay=self.weight_decay,
            use_ema=average_steps > 0,
            ema_momentum=1 - 1 / max(average_steps, 1.0),
        )
        if self.mixed_precision:
            # Small gradients vanish in float16. Keras scales the loss by itself only if the whole
            # model has that precision, and the head has not.
            return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=_INITIAL_LOSS_SCALE)
        return optimizer
