"""The run folder: its file names, and how a run starts, resumes and finishes.

Only the standard library is imported, as for `training.model_paths`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config import TrainConfig
from support.cli import is_out_of_memory
from support.files import describe_os_error, read_json, write_text
from training import OUT_OF_MEMORY, DivergedError, TrainingError
from training.origin import (
    comparable,
    compare_facts,
    compare_images,
    compare_settings,
    read_origin,
)

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "matplotlib", "pillow")
MODEL_FILE = "model.keras"
_CONFIG_FILE = "config.json"


def command_line() -> str:
    """Return the command that was typed."""
    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    packages = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version()} | packages


class Run:
    """A folder that holds one training run.

    Args:
        folder: path of the folder; it need not exist yet.

    Attributes:
        listeners: called with the history after each epoch, when its checkpoint is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.listeners: list[Callable[[list[dict]], None]] = []

    @property
    def model(self) -> Path:
        """Model of the best epoch."""
        return self.folder / MODEL_FILE

    @property
    def config(self) -> Path:
        """Settings, command and package versions."""
        return self.folder / _CONFIG_FILE

    @property
    def split(self) -> Path:
        """Split of every image."""
        return self.folder / "split.csv"

    @property
    def history(self) -> Path:
        """Metrics of every epoch."""
        return self.folder / "history.csv"

    @property
    def learning_curves(self) -> Path:
        """Plot of the history."""
        return self.folder / "learning_curves.png"

    @property
    def logs(self) -> Path:
        """Folder of the event files for TensorBoard."""
        return self.folder / "logs"

    @property
    def checkpoint(self) -> Path:
        """State after the last finished epoch; removed when the run is finished."""
        return self.folder / "resume.npz"

    @property
    def origin(self) -> Path:
        """Settings and images at the start of the run; removed when it is finished."""
        return self.folder / "resume.json"

    @property
    def is_started(self) -> bool:
        """Whether the run was started and is not finished."""
        return self.origin.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run was trained to its end."""
        return self.learning_curves.is_file() and not self.is_started

    def read_config(self) -> TrainConfig:
        """Read the settings of the run.

        Raises:
            TrainingError: there is no run in the folder, or its settings cannot be read.
        """
        if not self.config.is_file():
            raise TrainingError(f"expected the folder of a run, found no {self.config}")
        try:
            values = read_json(self.config)["config"]
            return TrainConfig(
                **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"expected the settings of a training run in {self.config}, received {error}"
            ) from error

    def start(
        self,
        settings: TrainConfig,
        images: dict[str, list],
        write_split: Callable[[Path], None],
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Create the folder and write what is known at the start; `origin` comes last.

        Args:
            settings: of the run.
            images: values of `training.origin.IMAGE_FACTS` by image id, in the order of training.
            write_split: writes the split of every image to a path.
            facts: what else has to be unchanged when the run resumes, by its name, as JSON values.
        """
        name, number = self.folder.name, 1
        while True:
            try:
                self.folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
                self.folder = self.folder.with_name(f"{name}-{number}")
        record = {
            "command": command_line(),
            "config": dataclasses.asdict(settings),
            "versions": installed_versions(),
        }
        write_text(self.config, json.dumps(record, indent=2) + "\n")
        write_split(self.split)
        origin = {"settings": comparable(settings), "images": images, "facts": facts or {}}
        write_text(self.origin, json.dumps(origin))

    def check_settings(self, settings: TrainConfig) -> None:
        """Compare settings with those at the start of the run.

        Raises:
            TrainingError: they differ, or the run is finished.
        """
        compare_settings(self._read_origin()["settings"], comparable(settings), self.folder)

    def check_images(self, images: dict[str, list], facts: dict[str, Any] | None = None) -> None:
        """Compare images and facts with those at the start of the run.

        Args:
            images: as for `start`.
            facts: as for `start`.

        Raises:
            TrainingError: they or their order differ, or the run is finished.
        """
        origin = self._read_origin()
        compare_facts(origin["facts"], facts or {}, self.folder)
        compare_images(origin["images"], images, self.folder)

    def finish(self) -> None:
        """Remove what only an interrupted run needs."""
        # Without the origin, the run counts as finished, whatever happens next.
        for path in (self.origin, self.checkpoint):
            path.unlink(missing_ok=True)

    def describe_state(self, *, resumable: bool = True) -> str:
        """Say what an interrupted run has reached, and the command that resumes it."""
        state = (
            f"best epoch so far: {self.model}" if self.model.exists() else "no epoch was finished"
        )
        if not resumable:
            return state
        return f"{state}; resume with: python train.py --resume {shlex.quote(str(self.folder))}"

    @contextlib.contextmanager
    def explaining_interruption(self) -> Iterator[None]:
        """Add to whatever stops a training what it has reached, and how it resumes."""
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self.describe_state()) from None
        except DivergedError as error:
            raise DivergedError(f"{error}; {self.describe_state(resumable=False)}") from error
        except BrokenPipeError:  # nobody reads the output, nor an error
            raise
        except OSError as error:
            raise TrainingError(f"{describe_os_error(error)}; {self.describe_state()}") from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            state = self.describe_state(resumable=False)
            raise TrainingError(f"{OUT_OF_MEMORY}; {state}") from error

    def _read_origin(self) -> dict[str, dict]:
        if not self.is_started:
            raise TrainingError(f"{self.folder} is not an interrupted run; nothing to resume")
        return read_origin(self.origin)


def new_run(output_dir: str | Path, model: str) -> Run:
    """Return a run named after a model and the current time; its folder is created on start.

    Args:
        output_dir: folder of the runs.
        model: name of the architecture.
    """
    return Run(Path(output_dir, f"{folder_name(model)}-{time.strftime('%Y%m%d-%H%M%S')}"))


def folder_name(model: str) -> str:
    """Return the name of an architecture as a part of that of a folder: Windows takes no colon."""
    return model.replace(":", "-")
