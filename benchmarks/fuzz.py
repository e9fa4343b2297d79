"""Damage files in many ways and hand them to the functions that the scripts use.

Pictures (JPEG, PNG), metadata tables and a saved model are changed by a seeded generator. Each is
either used or refused with one line; an exception of any other kind, a process that dies or one
that takes longer than the limit is a defect. Workers serve many cases, with bounded memory and
time; those for pictures and tables load no TensorFlow.
"""

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

from benchmarks.machine import describe
from config import PRETRAINED_MODEL, ArgumentParser

# Share of the cases, bytes of memory, and seconds for a case.
KINDS = {
    "jpeg": (0.35, 3 << 30, 20),
    "png": (0.3, 3 << 30, 20),
    "table": (0.25, 3 << 30, 20),
    "model": (0.1, 12 << 30, 60),
}
OUTCOMES = ("used", "refused", "crashed", "hung")
FIELDS = ("", "nan", "-1", "1e999", "\x00", '"', "'", "../../etc/passwd", "ä皮", "x" * 70_000, ",")


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes: flip, cut, repeat, insert, blank; one to eight times."""
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
    """Change a table's bytes, or its fields by what often stands in tables and should not."""
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
    """Change a model file's bytes, or one of its members under a right checksum."""
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
            # Without the time of day, which a name alone would bring into the file.
            new.writestr(zipfile.ZipInfo(name), member)
    return out.getvalue()


def damage_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Change values of a JSON document that stays one."""
    document = json.loads(content)
    places = []
    waiting = [document]
    while waiting:
        item = waiting.pop()
        keys = item.keys() if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            places.append((item, key))
            if isinstance(item[key], dict | list):
                waiting.append(item[key])
    values = (None, 0, -1, 1 << 40, 0.5, "", "Dense", [], {}, True, "x" * 1000)
    for _ in range(rng.integers(1, 4)):
        item, key = places[rng.integers(len(places))]
        item[key] = values[rng.integers(len(values))]
    return json.dumps(document).encode()


DAMAGE = {"jpeg": damage, "png": damage, "table": damage_table, "model": damage_model}


def seed_files(folder: Path, seed: int) -> dict[str, list[bytes]]:
    """Make whole files of each kind, from the made-up sample data."""
    from PIL import Image

    from data.sample import write_sample_dataset

    root = write_sample_dataset(folder / "sample", images_per_class=2, seed=seed)
    pictures = sorted(root.glob("**/*.jpg"))[:4]
    files: dict[str, list[bytes]] = {"jpeg": [path.read_bytes() for path in pictures], "png": []}
    for path, mode in zip(pictures, ("RGB", "RGBA", "P", "I;16"), strict=True):
        with Image.open(path) as image:
            changed = image.convert("L").convert(mode) if mode == "I;16" else image.convert(mode)
        buffer = io.BytesIO()
        changed.save(buffer, "PNG")
        files["png"].append(buffer.getvalue())
    files["table"] = [next(root.glob("*.csv")).read_bytes()]
    files["model"] = [Path(PRETRAINED_MODEL).read_bytes()]
    return files


def serve(kind: str, memory: int) -> None:
    """Be a worker: read paths, answer each with an outcome in one line."""
    import resource

    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if kind == "model":
        from models.backend import start_tensorflow

        start_tensorflow()
        from models import ModelError as Refusal
        from models.bundle import get_description, load_model
        from models.inference import FeatureReader
        from models.novelty import read_detector

        def use(path: str) -> None:
            model = load_model(path)
            description, read = get_description(model), FeatureReader(model)
            detector = read_detector(description.detector, features=read.count)
            side = description.image_size
            _, features = read(np.zeros((1, side, side, 3), np.uint8))
            if detector:
                detector.score(features)
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
        print(outcome, file=answer, flush=True)


class Worker:
    """A process that serves cases of one kind, replaced when it dies or hangs."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        _, self.memory, self.limit = KINDS[kind]
        self.process: subprocess.Popen | None = None

    def ask(self, path: Path) -> str:
        """Return what became of a case."""
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
        with contextlib.suppress(BrokenPipeError):  # it died; there is no answer then
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            # A new process starts first.
            ready = selector.select(self.limit + 60 * fresh)
        outcome = self.process.stdout.readline().strip() if ready else "hung"
        if not outcome or not ready:
            self.stop()
        return outcome or "crashed: the process died"

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def run(cases: int, seed: int, folder: Path) -> dict[str, Counter]:
    """Try so many cases; returns the counts by kind, and prints each defect."""
    files = seed_files(folder, seed)
    counts: dict[str, Counter] = {}
    for kind, (share, _, _) in KINDS.items():
        worker, counts[kind] = Worker(kind), Counter()
        # A table is looked for in its folder, beside the images that it names.
        path = folder / ("sample/HAM10000_metadata.csv" if kind == "table" else f"case.{kind}")
        if kind == "model":
            path = folder / "case.keras"
        for number in range(round(share * cases)):
            rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
            whole = files[kind][rng.integers(len(files[kind]))]
            path.write_bytes(DAMAGE[kind](whole, rng))
            outcome = worker.ask(path)
            counts[kind][outcome.split(":")[0]] += 1
            if not outcome.startswith(("used", "refused")):
                kept = Path("runs/fuzz", f"{kind}-{seed}-{number}{path.suffix}")
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)
                print(f"{kept}: {outcome}", flush=True)
        worker.stop()
    return counts


def main(argv: list[str] | None = None) -> int:
    """Run the cases, print the counts; returns 1 where there is a defect."""
    parser = ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        serve(args.worker, KINDS[args.worker][1])
        return 0
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        counts = run(args.cases, args.seed, Path(folder))
    print(f"\n{'':<8}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for kind, found in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{kind:<8}" + "".join(f"{found[outcome]:>9,}" for outcome in OUTCOMES))
    bad = sum(found["crashed"] + found["hung"] for found in counts.values())
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
