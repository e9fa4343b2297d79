"""Damage files in many ways and hand them to the functions that the scripts use.

Images (JPEG, PNG), metadata tables and a model file are damaged by a seeded generator. Each is
either used or refused with one line; any other exception, a process that dies, and one that takes
longer than the limit are defects. Workers process many cases each, with limited memory and time;
those for images and tables do not load TensorFlow.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine, number_type
from config import BUNDLED_MODEL, RUNS_DIR
from support import cli
from support.files import make_folder

PROGRAM = "python -m benchmarks.fuzz"
# Fraction of the cases, bytes of memory, and seconds per case.
KINDS = {
    "jpeg": (0.35, 3 << 30, 20),
    "png": (0.3, 3 << 30, 20),
    "table": (0.25, 3 << 30, 20),
    "model": (0.1, 12 << 30, 60),
}
OUTCOMES = ("used", "refused", "crashed", "hung")
FIELDS = ("", "nan", "-1", "1e999", "\x00", '"', "'", "../../etc/passwd", "ä皮", "x" * 70_000, ",")


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes one to eight times: flip, replace, delete, repeat, blank, cut off."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        if not data:
            break
        start = int(rng.integers(len(data)))
        stop = min(len(data), start + int(2 ** rng.uniform(0, 12)))
        change = rng.integers(6)
        if change == 0:
            data[start] ^= 1 << int(rng.integers(8))
        elif change == 1:
            data[start:stop] = rng.bytes(stop - start)
        elif change == 2:
            del data[start:stop]
        elif change == 3:
            data[start:start] = data[start:stop]
        elif change == 4:
            data[start:stop] = bytes([rng.choice([0, 255])]) * (stop - start)
        elif rng.random() < 0.3:
            del data[start:]
    return bytes(data)


def damage_table(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of a table, or put values into its fields that tables should not have."""
    if rng.random() < 0.4:
        return damage(content, rng)
    rows = [line.split(",") for line in content.decode().splitlines()]
    for _ in range(rng.integers(1, 6)):
        row = rows[rng.integers(len(rows))]
        row[rng.integers(len(row))] = FIELDS[rng.integers(len(FIELDS))]
        if rng.random() < 0.2:
            rows.append(row)
    end = ("\n", "\r\n", "\r", "\n\n")[rng.integers(4)]
    return end.join(",".join(row) for row in rows).encode(errors="replace")


def damage_model(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of a model file, or one of its members with a valid checksum."""
    if rng.random() < 0.3:
        return damage(content, rng)
    target = ("config.json", "metadata.json", "model.weights.h5")[rng.integers(3)]
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == target:
                is_text = name == "config.json" and rng.random() < 0.6
                member = (damage_json if is_text else damage)(member, rng)
            # A name alone would add the current time to the file.
            new.writestr(zipfile.ZipInfo(name), member)
    return out.getvalue()


def damage_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Change values of a JSON document, which stays valid JSON."""
    document = json.loads(content)
    slots = []
    waiting = [document]
    while waiting:
        item = waiting.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            slots.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    values = (None, 0, -1, 1 << 40, 0.5, "", "Dense", [], {}, True, "x" * 1000)
    for _ in range(rng.integers(1, 4)):
        item, key = slots[rng.integers(len(slots))]
        item[key] = values[rng.integers(len(values))]
    return json.dumps(document).encode()


DAMAGE = {"jpeg": damage, "png": damage, "table": damage_table, "model": damage_model}


def seed_files(folder: Path, seed: int) -> dict[str, list[bytes]]:
    """Make intact files of each kind, from the synthetic sample data set."""
    from PIL import Image

    from data.images import load_pixels
    from data.sample import write_sample_dataset

    root = write_sample_dataset(folder / "sample", images_per_class=2, seed=seed)
    images = sorted(root.glob("**/*.jpg"))[:4]
    files: dict[str, list[bytes]] = {"jpeg": [path.read_bytes() for path in images], "png": []}
    for path, mode in zip(images, ("RGB", "RGBA", "P", "I;16"), strict=True):
        image = Image.fromarray(load_pixels(path))
        changed = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
        buffer = io.BytesIO()
        changed.save(buffer, "PNG")
        files["png"].append(buffer.getvalue())
    files["table"] = [next(root.glob("*.csv")).read_bytes()]
    files["model"] = [Path(BUNDLED_MODEL).read_bytes()]
    return files


def serve(kind: str, memory: int) -> None:
    """Read paths from standard input, and write an outcome for each, in one line."""
    import resource

    output = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if kind == "model":
        from models.backend import start_tensorflow

        start_tensorflow()

        from models import ModelError as Refusal
        from models.classifier import load_classifier

        def use(path: str) -> None:
            classifier = load_classifier(path)
            size = classifier.description.image_size
            classifier(np.zeros((1, size, size, 3), np.uint8))

    else:
        from data import DataError as Refusal
        from data.images import load_image
        from data.sources import read_dataset

        def use(path: str) -> None:
            if kind == "table":
                read_dataset(Path(path).parent)
            else:
                load_image(path, 64)

    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    for line in sys.stdin:
        try:
            use(line.rstrip("\n"))
            outcome = "used"
        except Refusal as error:
            outcome = "refused" if "\n" not in str(error) else "crashed: more than one line"
        except BaseException as error:
            outcome = f"crashed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(outcome, file=output, flush=True)


class Worker:
    """A process for cases of one kind, replaced when it dies or hangs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        _, self.memory, self.limit = KINDS[kind]
        self.process: subprocess.Popen | None = None

    def ask(self, path: Path) -> str:
        """Return the outcome of a case."""
        fresh = self.process is None
        if fresh:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fuzz", "--worker"]
            self.process = subprocess.Popen(
                [*command, self.kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        with contextlib.suppress(BrokenPipeError):  # the process died; it writes no outcome
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            # A new process has to start first.
            ready = selector.select(self.limit + 60 * fresh)
        outcome = self.process.stdout.readline().strip() if ready else "hung"
        if not outcome or not ready:
            self.stop()
        return outcome or "crashed: the process died"

    def stop(self) -> None:
        """Stop the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def run(cases: int, seed: int, folder: Path) -> dict[str, Counter]:
    """Run so many cases; returns the counts by kind, and prints each defect."""
    files = seed_files(folder, seed)
    counts: dict[str, Counter] = {}
    for kind, (fraction, _, _) in KINDS.items():
        worker, counts[kind] = Worker(kind), Counter()
        # A data set is a folder: the table is beside the images that it names.
        path = folder / ("sample/HAM10000_metadata.csv" if kind == "table" else f"case.{kind}")
        if kind == "model":
            path = folder / "case.keras"
        for i in range(round(fraction * cases)):
            rng = np.random.default_rng([seed, list(KINDS).index(kind), i])
            intact = files[kind][rng.integers(len(files[kind]))]
            path.write_bytes(DAMAGE[kind](intact, rng))
            outcome = worker.ask(path)
            counts[kind][outcome.split(":")[0]] += 1
            if not outcome.startswith(("used", "refused")):
                copy = make_folder(Path(RUNS_DIR, "fuzz")) / f"{kind}-{seed}-{i}{path.suffix}"
                shutil.copy(path, copy)
                print(f"{copy}: {outcome}", flush=True)
        worker.stop()
    return counts


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns 1 if there is a defect."""
    return cli.run(PROGRAM, lambda: measure(argv))


def measure(argv: list[str] | None) -> int:
    """Run the cases and print the counts; returns the exit code."""
    parser = cli.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument(
        "--cases", type=number_type(int), default=2000, help="number of cases (default: 2000)"
    )
    parser.add_argument(
        "--seed", type=number_type(int, 0), default=0, help="seed of the damage (default: 0)"
    )
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        serve(options.worker, KINDS[options.worker][1])
        return 0
    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        counts = run(options.cases, options.seed, Path(folder))
    print(f"\n{'':<8}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for kind, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{kind:<8}" + "".join(f"{found[outcome]:>9,}" for outcome in OUTCOMES))
    defects = sum(found["crashed"] + found["hung"] for found in counts.values())
    return 1 if defects else 0


if __name__ == "__main__":
    sys.exit(main())
