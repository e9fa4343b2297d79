"""One job of a sweep: a run of train.py or evaluate.py, in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cluster.place import Place
from cluster.plan import CrossValidation, Job, Training
from support.files import one_line, read_json, write_text

ROOT = Path(__file__).parent.parent
_BOUND = Path(__file__).with_name("bound.py")
# Of what a script printed, where its last line is looked for.
_TAIL_BYTES = 4000


class KilledError(RuntimeError):
    """A signal ended a script, for example because memory ran out; another attempt resumes it."""


@dataclass(frozen=True)
class Finished:
    """How a script ended.

    Attributes:
        is_done: whether its results are there.
        code: its exit code.
        message: its last line if it failed, else empty.
        seconds: how long it ran.
        resumed: whether it was an interrupted training.
    """

    is_done: bool
    code: int = 0
    message: str = ""
    seconds: float | None = None
    resumed: bool = False


def do_job(job: Job, place: Place) -> Finished:
    """Do a job, or what is left of it.

    Args:
        job: a training, or the folds to measure.
        place: where.

    Raises:
        KilledError: a signal ended it.
        InputError: this machine lacks the folder.
    """
    place.enter()
    return _train(job, place) if isinstance(job, Training) else _evaluate(job, place)


def read_record(training: Training) -> Finished:
    """Return how a finished training ended.

    Args:
        training: of this sweep or, in the same folder, of one before.
    """
    try:
        return Finished(**read_json(training.record))
    except (OSError, TypeError, ValueError):
        # The worker was lost between the end of the training and this file.
        return Finished(True)


def _train(training: Training, place: Place) -> Finished:
    run = training.find_run()
    if run is not None and run.is_finished:
        return read_record(training)
    arguments = ["train.py", *training.arguments]
    if run is not None:
        arguments = ["train.py", "--resume", str(run.folder)]
    finished = _run_script(arguments, training.log, place)
    if not training.is_finished:
        return finished
    # Exit code 1 of a finished training: some images could not be used.
    finished = replace(finished, is_done=True, message="", resumed=run is not None)
    write_text(training.record, json.dumps(asdict(finished)) + "\n")
    return finished


def _evaluate(folds: CrossValidation, place: Place) -> Finished:
    if folds.is_finished:
        return Finished(True)
    models = [str(member.find_run().model) for member in folds.members]
    arguments = ["evaluate.py", "--model_path", *models, "--output_dir", str(folds.folder)]
    finished = _run_script(arguments, folds.log, place)
    return replace(finished, is_done=True, message="") if folds.is_finished else finished


def _run_script(arguments: Sequence[str], log: Path, place: Place) -> Finished:
    """Run a script of the project; what it prints is appended to a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    place.share.prepare(environment)
    script, *flags = arguments
    command = [sys.executable, str(_BOUND), str(os.getpid()), str(ROOT / script), *flags]
    started = time.monotonic()
    with log.open("ab") as file:
        file.write(f"$ {shlex.join(['python', *arguments])}\n".encode())
        start = file.tell()
        file.flush()
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        ).returncode
    seconds = time.monotonic() - started
    message = "" if code == 0 else _last_line(log, start)
    if code < 0:
        raise KilledError(f"signal {-code} ended it, perhaps because memory ran out; see {log}")
    return Finished(False, code, message, seconds)


def _last_line(log: Path, start: int) -> str:
    """Return the last line that is not empty of what was printed after a position."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    return one_line(lines[-1]) if lines else f"it printed nothing; see {log}"
