"""Which trainings a sweep consists of, where each has its folder, and how far it has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cluster.settings import SweepConfig
from config import TrainConfig
from metrics import METRICS_FILE
from support import InputError
from support.files import count_noun
from training.origin import comparable
from training.run import Run, folder_name
from training.settings import build_train_config

# Flags of train.py that a sweep sets, and what to give instead.
_OWN_FLAGS = {
    "model": "give --models before --",
    "folds": "give --folds before --",
    "fold": "give --folds before --; all folds are trained",
    "seed": "give --seeds before --",
    "output_dir": "give --output_dir before --",
    "resume": "the same command resumes what is unfinished",
}
# A sweep may be started from another folder, with another path to the same one.
_NOT_COMPARED = {"output_dir"}


@dataclass(frozen=True)
class Training:
    """One training of a sweep.

    Attributes:
        name: of its folder; no other training of the sweep has the same.
        folder: in which its run folder is created.
        settings: complete.
        arguments: of train.py.
    """

    name: str
    folder: Path
    settings: TrainConfig
    arguments: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What train.py prints."""
        return self.folder / "train.log"

    @property
    def record(self) -> Path:
        """How the training ended."""
        return self.folder / "sweep.json"

    @property
    def is_finished(self) -> bool:
        """Whether it has a run that was trained to its end."""
        run = self.find_run()
        return run is not None and run.is_finished

    def find_run(self) -> Run | None:
        """Return the run that is finished, else the one that is interrupted, else None."""
        runs = [run for run in map(Run, sorted(self.folder.glob("*/"))) if run.config.is_file()]
        finished = [run for run in runs if run.is_finished]
        # One that was killed before its start was recorded cannot resume; another takes its place.
        return next(iter([*finished, *(run for run in runs if run.is_started)]), None)

    def check_run(self) -> None:
        """Check that the run in the folder, if there is one, has the settings asked for.

        Raises:
            InputError: it has others.
        """
        run = self.find_run()
        if run is None:
            return
        before, now = (comparable(config) for config in (run.read_config(), self.settings))
        changed = [name for name in now if before.get(name) != now[name]]
        if changed := [name for name in changed if name not in _NOT_COMPARED]:
            name = changed[0]
            raise InputError(
                f"--output_dir: expected runs with the settings of this sweep, received "
                f"{run.folder} with {count_noun(len(changed), 'other setting')}, for example "
                f"{name}: {before.get(name)}, not {now[name]}; choose another --output_dir"
            )


@dataclass(frozen=True)
class CrossValidation:
    """The folds of one model and seed, which evaluate.py measures together.

    Attributes:
        name: of its folder.
        folder: of the evaluation.
        members: the trainings, one per fold.
    """

    name: str
    folder: Path
    members: tuple[Training, ...]

    @property
    def log(self) -> Path:
        """What evaluate.py prints."""
        return self.folder / "evaluate.log"

    @property
    def metrics(self) -> Path:
        """The metrics that evaluate.py writes."""
        return self.folder / METRICS_FILE

    @property
    def is_trained(self) -> bool:
        """Whether all folds are trained."""
        return all(member.is_finished for member in self.members)

    @property
    def is_finished(self) -> bool:
        """Whether the metrics are there, and no model is newer."""
        if not self.metrics.is_file() or not self.is_trained:
            return False
        models = [member.find_run().model for member in self.members]
        measured = self.metrics.stat().st_mtime
        return all(model.stat().st_mtime <= measured for model in models)


# What a sweep does, in a process of its own.
Job = Training | CrossValidation


def plan_trainings(
    sweep: SweepConfig, given: Mapping[str, Any], arguments: Sequence[str]
) -> list[Training]:
    """Return the trainings of a sweep, the folds of a model and seed together.

    Args:
        sweep: its settings.
        given: flags of train.py for all trainings, by field name.
        arguments: the same as they were typed.

    Raises:
        ValueError: a flag is set by the sweep itself, or train.py would refuse the flags.
    """
    for name, remedy in _OWN_FLAGS.items():
        if name in given:
            raise ValueError(f"--{name} is set by the sweep; remove it, and {remedy}")
    trainings = []
    folds = range(sweep.folds) if sweep.folds else (None,)
    for model, seed, fold in product(sweep.models or (None,), sweep.seeds, folds):
        own: dict[str, Any] = {"seed": seed}
        if model is not None:
            own["model"] = model
        if fold is not None:
            own |= {"folds": sweep.folds, "fold": fold}
        settings = build_train_config({**given, **own})
        part = "" if fold is None else f"-fold{fold}of{sweep.folds}"
        name = f"{folder_name(settings.model)}{part}-seed{seed}"
        folder = Path(sweep.output_dir, name)
        own["output_dir"] = str(folder)
        flags = [text for key, value in own.items() for text in (f"--{key}", str(value))]
        settings = dataclasses.replace(settings, output_dir=str(folder))
        trainings.append(Training(name, folder, settings, (*arguments, *flags)))
    return trainings


def plan_cross_validations(
    sweep: SweepConfig, trainings: Sequence[Training]
) -> list[CrossValidation]:
    """Return the cross-validations of a sweep: none without folds."""
    if not sweep.folds:
        return []
    found = []
    for start in range(0, len(trainings), sweep.folds):
        members = tuple(trainings[start : start + sweep.folds])
        settings = members[0].settings
        model = folder_name(settings.model)
        name = f"{model}-{sweep.folds}folds-seed{settings.seed}"
        found.append(CrossValidation(name, Path(sweep.output_dir, name), members))
    return found


def check_data(settings: TrainConfig) -> None:
    """Check that the folders of the data exist, before many trainings look for them.

    Args:
        settings: of one training.

    Raises:
        InputError: one does not.
    """
    if settings.sample and not Path(settings.data_dir).exists():
        raise InputError(
            f"--sample: expected the images in {settings.data_dir}, found none, and trainings at "
            "the same time would all generate them; run python -m data.sample --output_dir "
            f"{settings.data_dir} --images_per_class {settings.sample_images_per_class}"
        )
    folders = {"data_dir": (settings.data_dir,), "extra_data_dir": settings.extra_data_dir}
    for name, paths in folders.items():
        for path in paths:
            if not Path(path).exists():
                raise InputError(
                    f"--{name}: expected a folder of images, found nothing at {path}; correct the "
                    "path"
                )
