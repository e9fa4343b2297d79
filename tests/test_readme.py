"""README speaks of files, flags and folders that exist."""

import re
from pathlib import Path

import pytest

import config
from models import MODEL_NAMES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = {
    "train.py": config.TrainConfig,
    "evaluate.py": config.EvaluateConfig,
    "predict.py": config.PredictConfig,
}
COMMANDS = sorted(set(re.findall(r"python ((?:train|evaluate|predict)\.py --[^\n`&]*)", TEXT)))


def test_readme_shows_all_three_scripts():
    assert {command.split()[0] for command in COMMANDS} == set(CONFIGS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_flags_that_exist(command):
    script, *argv = command.split()
    parser = config.ArgumentParser(prog=script)
    config.add_arguments(parser, CONFIGS[script], choices={"model": MODEL_NAMES})
    args = parser.parse_args(argv)
    presets = config.train_presets(args) if script == "train.py" else ()
    assert config.from_args(CONFIGS[script], args, presets)


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!http)([^)]+)\)", TEXT)
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_modules_that_readme_runs_exist():
    for module in re.findall(r"python -m ((?:data|benchmarks|app)\.\w+)", TEXT):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
