import pytest

from models import WeightsUnavailableError
from train import parse
from training.recipe import augmentation_settings, build
from training.run import Run

SMALL = ["--image_size", "32", "--fine_tune_layers", "3"]


@pytest.fixture
def no_weights(monkeypatch):
    """Make the ImageNet weights unavailable."""

    def fetch(url, file_name):
        raise WeightsUnavailableError("no network")

    monkeypatch.setattr("models.transfer.fetch_weights", fetch)


def test_a_run_with_a_checkpoint_is_built_without_imagenet_weights(tmp_path, no_weights):
    settings, run = parse(SMALL), Run(tmp_path)
    with pytest.raises(WeightsUnavailableError, match=r"^--weights: no network \(--weights PATH"):
        build(settings, run)
    # The weights of the checkpoint replace any others.
    run.checkpoint.touch()
    model, device = build(settings, run)
    assert model.input_shape == (None, 32, 32, 3)
    assert device


def test_too_many_layers_are_reported_before_the_training(tmp_path):
    settings = parse(["--weights", "none", "--image_size", "32", "--fine_tune_layers", "999"])
    with pytest.raises(ValueError, match=r"^--fine_tune_layers: expected 0 to \d+ .*received 999"):
        build(settings, Run(tmp_path))


def test_every_setting_of_the_augmentation_comes_from_the_recipe():
    settings = parse([])
    augmentation = augmentation_settings(settings)
    for name, value in vars(augmentation).items():
        assert value == getattr(settings, name)
