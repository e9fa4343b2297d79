import dataclasses
import json

import pytest

import config
from config import EvaluateConfig, PredictConfig, TrainConfig


def parse(config_class: type, *argv: str):
    parser = config.ArgumentParser(prog="script.py")
    config.add_arguments(
        parser, config_class, choices={"model": ("sequential", "mobilenet", "vit")}
    )
    args = parser.parse_args(argv)
    presets = config.train_presets(args) if config_class is TrainConfig else ()
    return config.from_args(config_class, args, presets)


def test_without_flags_the_defaults():
    assert parse(TrainConfig) == TrainConfig()
    assert TrainConfig().data_dir == "datasets/HAM10000"


def test_a_typed_flag_beats_preset_and_default():
    assert parse(TrainConfig, "--model", "sequential").image_size == 96
    settings = parse(TrainConfig, "--model", "sequential", "--image_size", "64", "--sample")
    assert (settings.image_size, settings.data_dir) == (64, config.SAMPLE_DIR)
    settings = parse(TrainConfig, "--weights", "none")
    assert settings.batch_norm_trains
    assert (settings.head_epochs, settings.fine_tune_layers) == (0, -1)
    assert parse(TrainConfig, "--weights", "none", "--head_epochs", "1").head_epochs == 1
    # A transformer takes small steps, from random weights, too.
    for argv in ([], ["--weights", "none"], ["--sample"]):
        assert parse(TrainConfig, "--model", "vit", *argv).learning_rate == 1e-4
    assert parse(TrainConfig, "--model", "vit", "--learning_rate", "0.1").learning_rate == 0.1


def test_presets_name_only_fields_there_are():
    fields = {item.name for item in dataclasses.fields(TrainConfig)}
    for preset in config.PRESETS.values():
        assert set(preset) <= fields


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "-1"], "--epochs must be at least 0, received -1"),
        (["--dropout", "1.5"], "--dropout must be at most 0.95, received 1.5"),
        (["--learning_rate", "nan"], "--learning_rate must be at least 0.0, received nan"),
        (["--epochs", "0", "--head_epochs", "0"], "nothing to train"),
        (["--model", "sequential", "--weights", "imagenet"], "choose --model mobilenet"),
        (["--model", "sequential", "--head_epochs", "2"], "sequential has none"),
        (["--sample", "--data_dir", "x"], "not both"),
    ],
)
def test_contradictions_and_values_out_of_range_are_refused(argv, message):
    with pytest.raises(ValueError, match=message):
        parse(TrainConfig, *argv)


@pytest.mark.parametrize(
    "argv",
    [["--epochs", "many"], ["--model", "resnet"], ["--epoch", "3"], ["--lr_schedule", "step"]],
)
def test_a_wrong_flag_ends_with_one_line_and_code_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(TrainConfig, *argv)
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("script.py: error: ")
    assert message.count("\n") == 1


def test_predictions_go_to_csv_or_json_only():
    assert parse(PredictConfig, "--image", "a", "b").image == ("a", "b")
    with pytest.raises(ValueError, match=r"\.csv or \.json"):
        parse(PredictConfig, "--image", "a", "--output", "out.txt")


def test_saved_settings_load_again_with_versions_and_command(tmp_path):
    settings = parse(TrainConfig, "--seed", "7", "--learning_rate", "0.5")
    config.save(settings, tmp_path / "config.json")
    assert config.load(TrainConfig, tmp_path / "config.json") == settings
    record = json.loads((tmp_path / "config.json").read_text())
    assert set(config.PACKAGES) < set(record["versions"])
    assert record["command"].startswith("python ")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("text", ["{}", "no json", '{"config": {"colour": 1}}', "[]"])
def test_a_spoilt_settings_file_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="should hold the settings"):
        config.load(TrainConfig, tmp_path / "config.json")


def test_flags_are_few_and_explained():
    for config_class, most in ((TrainConfig, 24), (EvaluateConfig, 9), (PredictConfig, 9)):
        flags = [f for f in dataclasses.fields(config_class) if "help" in f.metadata]
        assert len(flags) <= most
        assert all(flag.metadata["help"] and flag.metadata["group"] for flag in flags)
