from itertools import pairwise

import pytest

from training.schedules import LearningRateSchedule, learning_rate_at


def rate(step: float, schedule: str = "cosine") -> float:
    return float(
        learning_rate_at(step, schedule=schedule, peak=2.0, total_steps=110, warmup_steps=10)
    )


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.2), (4, 1.0), (9, 2.0), (10, 2.0), (60, 1.0), (110, 0.0)]
)
def test_cosine_on_hand_made_steps(step, expected):
    assert rate(step) == pytest.approx(expected, abs=1e-6)


def test_cosine_falls_after_the_warm_up_and_never_below_zero():
    rates = [rate(step) for step in range(10, 120)]
    assert all(a >= b for a, b in pairwise(rates))
    assert min(rates) >= 0


@pytest.mark.parametrize(("step", "expected"), [(0, 0.2), (9, 2.0), (50, 2.0), (109, 2.0)])
def test_constant_rises_and_stays(step, expected):
    assert rate(step, "constant") == pytest.approx(expected)


def test_without_warm_up_it_starts_at_the_peak():
    assert float(learning_rate_at(0, schedule="cosine", peak=3.0, total_steps=10)) == pytest.approx(
        3.0
    )


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="one of cosine, constant, received 'triangle'"):
        rate(0, "triangle")


def test_the_keras_schedule_agrees_and_survives_its_config():
    settings = {"schedule": "cosine", "peak": 2.0, "total_steps": 110, "warmup_steps": 10}
    schedule = LearningRateSchedule.from_config(LearningRateSchedule(**settings).get_config())
    assert float(schedule(60)) == rate(60)
    later = LearningRateSchedule(**settings, first_step=40)
    assert float(LearningRateSchedule.from_config(later.get_config())(20)) == rate(60)
