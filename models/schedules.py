"""The learning rate as a pure function of the step."""

import math

import keras
from keras import ops

LR_SCHEDULES = ("cosine", "constant")


def learning_rate_at(step, *, schedule: str, peak: float, total_steps: int, warmup_steps: int = 0):
    """Return the learning rate of a step.

    It rises linearly over the warm-up; then it stays (`constant`) or falls along half a cosine
    towards zero, which the step after the last would reach (`cosine`; Loshchilov and Hutter,
    SGDR, ICLR 2017, without restarts).

    Args:
        step: number or tensor, steps done before this one, from 0.
        schedule: one of `LR_SCHEDULES`.
        peak: highest learning rate.
        total_steps: steps from start to end.
        warmup_steps: steps of the rise; step `warmup_steps - 1` is the first at the peak.

    Returns:
        A float32 scalar tensor.
    """
    if schedule not in LR_SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}; choose from {', '.join(LR_SCHEDULES)}")
    step = ops.cast(step, "float32")
    rising = peak * (step + 1) / max(warmup_steps, 1)
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    progress = ops.clip(progress, 0.0, 1.0)
    falling = peak * (1 + ops.cos(math.pi * progress)) / 2
    settled = falling if schedule == "cosine" else ops.full_like(falling, peak)
    return ops.where(step < warmup_steps, rising, settled)


class LearningRateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """`learning_rate_at` in the form that Keras optimizers take.

    Args:
        first_step: where on the schedule the optimizer begins; the others are those of
            `learning_rate_at`.
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
        return learning_rate_at(step + self.first_step, **self.settings)

    def get_config(self) -> dict:
        return {**self.settings, "first_step": self.first_step}
