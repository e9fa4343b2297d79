import dataclasses

import pytest

import config
from config import EvaluateConfig, PredictConfig, TrainConfig
from models.backbones import MODEL_NAMES
from train import parse
from training.settings import list_presets


def test_defaults_are_complete_before_tensorflow_is_imported():
    settings = parse([])
    assert (settings.data_dir, settings.model) == ("datasets/HAM10000", "mobilenet")
    assert (settings.image_size, settings.fine_tune_layers) == (192, 126)
    for name in MODEL_NAMES:
        values = dataclasses.asdict(parse(["--model", name]))
        assert [key for key, value in values.items() if value is None] == ["init_from", "resume"]


def test_a_given_flag_beats_presets_and_defaults():
    assert parse(["--model", "sequential"]).image_size == 96
    settings = parse(["--model", "sequential", "--image_size", "64", "--sample"])
    assert (settings.image_size, settings.data_dir) == (64, config.SAMPLE_DIR)
    assert parse(["--weights", "none"]).fine_tune_layers == -1
    assert parse(["--weights", "none"]).head_epochs == 0
    assert parse(["--weights", "none", "--head_epochs", "1"]).head_epochs == 1
    assert parse(["--model", "vit", "--learning_rate", "0.1"]).learning_rate == 0.1


def test_a_list_that_is_given_in_parts_is_whole():
    argv = ["--extra_data_dir", "a", "b", "--epochs", "3", "--extra_data_dir", "c", "--epochs", "4"]
    settings = parse(argv)
    assert (settings.extra_data_dir, settings.epochs) == (("a", "b", "c"), 4)
    assert parse([]).extra_data_dir == ()


@pytest.mark.parametrize("argv", [[], ["--weights", "none"], ["--sample"]])
def test_transformers_have_a_lower_learning_rate_with_any_start(argv):
    assert parse(["--model", "vit", *argv]).learning_rate == 1e-4


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_sample_run_starts_from_random_weights(name):
    settings = parse(["--model", name, "--sample"])
    assert (settings.weights, settings.image_size, settings.batch_size) == ("none", 80, 16)
    assert settings.average_epochs == 0.0


def test_presets_name_existing_fields_only():
    fields = {item.name for item in dataclasses.fields(TrainConfig)}
    for preset in list_presets().values():
        assert set(preset) <= fields


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "-1"], "--epochs should be at least 0, received -1"),
        (["--source_balance", "1.5"], "--source_balance should be at most 1.0, received 1.5"),
        (["--folds", "5", "--fold", "5"], "--fold should be below --folds, received 5 of 5 folds"),
        (["--fold", "1"], "--fold should be below --folds, received 1 of 0 folds"),
        (["--folds", "1"], "--folds should be at least 2, or 0 for none, received 1"),
        (["--learning_rate", "nan"], "--learning_rate should be at least 0.0, received nan"),
        (["--epochs", "0", "--head_epochs", "0"], "nothing to train"),
        (["--model", "sequential", "--weights", "imagenet"], "choose --model mobilenet"),
        (["--model", "sequential", "--head_epochs", "2"], "sequential has none"),
        (["--sample", "--data_dir", "x"], "not both"),
        (["--epochs", "many"], "invalid int value: 'many'"),
        (["--model", "resnet"], "received 'resnet' (near: keras:ResNet"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--strategy", "cube"], "invalid choice: 'cube'"),
    ],
)
def test_a_wrong_flag_ends_with_one_line_and_code_2(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(argv)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("train.py: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_help_shows_the_image_size_and_layers_of_each_model(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(mobilenet: 192; efficientnet: 224;" in text
    assert "(0: none, -1: all) (mobilenet: 126;" in text


def test_predictions_are_written_as_csv_or_json_only():
    assert PredictConfig(image=("a", "b")).image == ("a", "b")
    with pytest.raises(ValueError, match=r"\.csv or \.json"):
        PredictConfig(image=("a",), output="out.txt")


def test_flags_are_few_and_documented():
    for config_class, limit in ((TrainConfig, 26), (EvaluateConfig, 12), (PredictConfig, 12)):
        flags = [f for f in dataclasses.fields(config_class) if "help" in f.metadata]
        assert len(flags) <= limit
        assert all(flag.metadata["help"] and flag.metadata["group"] for flag in flags)
