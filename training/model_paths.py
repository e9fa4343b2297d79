"""Which model and data a command uses: those asked for, the newest run, the bundled model.

Only the standard library is imported, so that `predict.py` finds the newest model at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import config
from models.description_checks import peek_description
from support.cli import naming_flag
from support.files import count_noun, list_names, one_line, read_json
from training import TrainingError
from training.run import MODEL_FILE, Run

# Of the models of an ensemble that a line names.
_SHOWN_MODELS = 3


def newest_models(runs_dir: str | Path) -> list[Path]:
    """Return the models of all runs that have one, the newest first.

    Args:
        runs_dir: folder of the runs.
    """
    found = [path for path in Path(runs_dir).glob(f"*/{MODEL_FILE}") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def find_model(model_path: str | Path) -> Path:
    """Return a model file, given its path or that of its run folder.

    Raises:
        TrainingError: the folder has no model; the message says what is in it.
    """
    path = Path(model_path)
    if not path.is_dir():
        return path
    run = Run(path)
    if run.model.is_file():
        return run.model
    if (path / "saved_model.pb").is_file():
        received = (
            "a SavedModel, which is for other programs; choose the .keras file that it was "
            "exported from"
        )
    elif run.is_started:
        received = f"an interrupted run: {run.describe_state()}"
    elif models := newest_models(path):
        which = "it" if len(models) == 1 else "one"
        received = (
            f"{count_noun(len(models), 'run')} in it, the newest {models[0].parent}; choose {which}"
        )
    else:
        names = sorted(item.name for item in path.iterdir())
        more = [f"{len(names) - 5} more"] if names[5:] else []
        received = f"{', '.join([*names[:5], *more]) or 'an empty folder'}; choose a model file"
    raise TrainingError(f"{path}: expected {MODEL_FILE} in the folder, found {received}")


def choose_models(model_paths: Sequence[str]) -> tuple[list[Path], str]:
    """Choose model files: those asked for, else that of the newest run, else the bundled one.

    A model that was trained on synthetic images is only chosen if it is asked for. One that cannot
    be read is chosen all the same, so that loading it says why.

    Args:
        model_paths: those asked for, or their run folders; empty for none.

    Returns:
        Their paths, and how to name them in the output.

    Raises:
        TrainingError: there is no model in a folder.
    """
    if model_paths:
        with naming_flag("--model_path"):
            paths = [find_model(path) for path in model_paths]
        return paths, list_names(map(str, paths), _SHOWN_MODELS)
    passed_over = []
    for path in newest_models(config.RUNS_DIR):
        description = peek_description(path)
        if description is None or not description.synthetic:
            return [path], one_line(
                f"{path} (newest run{_say_passed_over(passed_over, 'newer run')})"
            )
        passed_over.append(path)
    bundled = Path(config.__file__).parent / config.BUNDLED_MODEL
    reason = _say_passed_over(passed_over, "run") or f"; no run in {config.RUNS_DIR}/"
    return [bundled], f"{config.BUNDLED_MODEL} (bundled model{reason})"


def _say_passed_over(models: list[Path], noun: str) -> str:
    """Say that runs on synthetic images are not chosen by default; empty if there are none."""
    if not models:
        return ""
    verb, which = ("is", "it") if len(models) == 1 else ("are", "one")
    return (
        f"; {count_noun(len(models), noun)} in {config.RUNS_DIR}/ {verb} trained on synthetic "
        f"images: choose {which} with --model_path"
    )


def choose_data_dir(data_dir: str | None, model_path: str | Path) -> tuple[str, str]:
    """Choose the data of a model: the folder asked for, else that of its run, else the default.

    Args:
        data_dir: the one asked for, None for none.
        model_path: a model file, perhaps in its run folder.

    Returns:
        The folder, and where its name comes from.

    Raises:
        TrainingError: the settings beside the model cannot be read.
    """
    if data_dir is not None:
        return data_dir, "from --data_dir"
    path = Run(Path(model_path).parent).config
    if not path.is_file():
        return config.DATA_DIR, f"the default, since the model has no {path.name} beside it"
    try:
        found = read_json(path)["config"]["data_dir"]
        if not isinstance(found, str) or not found.isprintable():
            raise ValueError(f"{found!r:.50} as data_dir; give the folder")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"--data_dir: expected the settings of a training run in {path}, received {error}"
        ) from error
    return found, f"from {path}"
