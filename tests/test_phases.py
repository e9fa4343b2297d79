import dataclasses

import pytest

from train import parse
from training.phases import Phase, plan_phases, schedule_epochs


def shape(*argv: str) -> list[tuple]:
    phases = plan_phases(parse(list(argv)))
    return [(p.name, p.epochs, p.image_size, p.backbone_layers, p.continues) for p in phases]


def test_mobilenet_trains_its_head_then_small_then_full_images():
    assert shape() == [
        ("head", 1, 128, 0, False),
        ("small", 12, 128, 126, False),
        ("fine-tune", 4, 192, 126, True),
    ]


def test_sequential_has_one_phase():
    assert shape("--model", "sequential") == [("train", 15, 96, None, False)]


def test_random_weights_train_all_layers_at_full_size():
    assert shape("--weights", "none") == [("fine-tune", 24, 192, -1, False)]


def test_a_transformer_keeps_its_image_size():
    assert [phase[2] for phase in shape("--model", "vit")] == [224, 224]


def test_an_image_size_that_cannot_shrink_has_no_small_phase():
    assert [phase[:3] for phase in shape("--image_size", "32")] == [
        ("head", 1, 32),
        ("fine-tune", 16, 32),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epochs": 1}, [("head", 1, 128), ("small", 1, 128)]),
        ({"small_epochs_fraction": 0.0}, [("head", 1, 192), ("fine-tune", 16, 192)]),
        ({"small_epochs_fraction": 1.0}, [("head", 1, 128), ("small", 16, 128)]),
        (
            {"small_epochs_fraction": 0.4, "epochs": 10},
            [("head", 1, 128), ("small", 4, 128), ("fine-tune", 6, 192)],
        ),
        ({"epochs": 0}, [("head", 1, 192)]),
    ],
)
def test_phases_without_epochs_are_left_out(changes, expected):
    phases = plan_phases(dataclasses.replace(parse([]), **changes))
    assert [(phase.name, phase.epochs, phase.image_size) for phase in phases] == expected


def test_every_phase_names_the_flag_of_its_learning_rate():
    places = [phase.learning_rate_setting for phase in plan_phases(parse([]))]
    assert places == ["head_learning_rate in config.py", "--learning_rate", "--learning_rate"]
    assert Phase("train", 1, 0.1).learning_rate_setting == "--learning_rate"


@pytest.mark.parametrize(
    ("index", "expected"), [(0, (0, 1)), (1, (0, 7)), (2, (2, 7)), (3, (4, 7)), (4, (0, 5))]
)
def test_phases_that_continue_share_one_schedule(index, expected):
    phase = Phase("one", 1, 1e-3)
    more = dataclasses.replace(phase, epochs=2)
    going_on = dataclasses.replace(phase, epochs=2, continues=True)
    last = dataclasses.replace(going_on, epochs=3)
    phases = [phase, more, going_on, last, dataclasses.replace(phase, epochs=5)]
    assert schedule_epochs(phases, index) == expected
