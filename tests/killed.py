"""Run train.py and send this process SIGKILL at a chosen point: python killed.py "step 3" FLAGS

Points: `step N`, at the end of the N-th step; `write N`, in the middle of the N-th write to a model
or checkpoint; `rename N`, before the N-th file gets its final name; `never`. `full N` does not
kill: from the end of the N-th step on, files cannot grow beyond 4 KiB.
"""

import io
import os
import resource
import signal
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

kind, _, number = sys.argv[1].partition(" ")
left = int(number or 0)


def count(what: str) -> bool:
    """Count down to the chosen point; returns whether it is reached."""
    global left
    if what != kind:
        return False
    left -= 1
    return left == 0


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


rename = os.replace


def replace(source, target) -> None:
    if count("rename"):
        kill()
    rename(source, target)


class Halved(io.FileIO):
    """A file whose writer is killed in the middle of a write."""

    def write(self, data) -> int:
        if count("write"):
            super().write(bytes(data)[: len(data) // 2])
            kill()
        return super().write(data)


os.replace = replace
open_zip = zipfile.ZipFile.__init__


def init(self, file, mode="r", *args, **options) -> None:
    # Models and checkpoints are zip archives, both written through this.
    if mode == "w":
        raw = file.fileno() if hasattr(file, "fileno") else os.fspath(file)
        file = Halved(os.dup(raw) if isinstance(raw, int) else raw, "w")
    open_zip(self, file, mode, *args, **options)


zipfile.ZipFile.__init__ = init

import train  # noqa: E402
from training.callbacks import EpochLog  # noqa: E402

after_step = EpochLog.on_train_batch_end


def on_train_batch_end(self, batch, logs=None) -> None:
    after_step(self, batch, logs)
    if count("step"):
        kill()
    if count("full"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


EpochLog.on_train_batch_end = on_train_batch_end
sys.exit(train.main(sys.argv[2:]))
