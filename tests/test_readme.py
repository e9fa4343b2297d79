"""README names only files, flags and modules that exist, and is short."""

import re
from pathlib import Path

import pytest

import config
import train
from support import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "README.md",
    "MODEL_CARD.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGS = {
    "train.py": config.TrainConfig,
    "evaluate.py": config.EvaluateConfig,
    "predict.py": config.PredictConfig,
}
COMMANDS = sorted(
    set(
        re.findall(r"python ((?:train|evaluate|predict)\.py --[^\n`&]*)", TEXT.replace("\\\n", " "))
    )
)


def test_readme_shows_all_three_scripts():
    assert {command.split()[0] for command in COMMANDS} == set(CONFIGS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_flags_that_exist(command):
    script, *argv = command.split()
    if script == "train.py":
        assert train.parse(argv)
    else:
        assert cli.parse(CONFIGS[script], argv, prog=script, description=None)


def test_readme_is_short():
    lines = TEXT.splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_and_their_sections(name):
    text = (ROOT / name).read_text("utf-8")
    links = re.findall(r"\]\((?!http)([^)]+)\)", text)
    assert links
    for link in links:
        file, _, section = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        assert target.is_file(), link
        if section:
            titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert section in anchors, link


def test_modules_that_readme_runs_exist():
    for module in re.findall(r"python -m ((?:data|benchmarks|app|cluster)\.\w+)", TEXT):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
