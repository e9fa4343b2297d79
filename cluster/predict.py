"""Predict many images: python -m cluster.predict --image DIR --output OUT.parquet

Ray Data gives each worker a model and part after part of the images; each part becomes a file. The
same command resumes an interrupted one.
"""

from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from cluster.connection import (
    Share,
    check_share,
    connecting,
    describe_machines,
    read_machines,
)
from cluster.place import Place
from cluster.settings import ClusterPredictConfig
from models.checksums import file_checksum
from models.description import SYNTHETIC_WARNING
from models.description_checks import peek_description
from support import InputError, cli
from support.files import count_noun, make_folder
from support.terminal import Progress, red
from training.model_paths import choose_models

if TYPE_CHECKING:
    from cluster.parts import Parts

PROGRAM = "python -m cluster.predict"
REQUIREMENTS = "requirements-ray.txt"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""

    def command() -> int:
        return predict(cli.parse(ClusterPredictConfig, argv, prog=PROGRAM, description=__doc__))

    return cli.run(PROGRAM, command, requirements=REQUIREMENTS)


def predict(settings: ClusterPredictConfig) -> int:
    """Find the images, and predict the parts of them that are not done."""
    from cluster.parts import Parts, build_key, list_images

    with cli.naming_flag("--image"):
        paths = list_images(settings.image)
    models, origin = choose_models(settings.model_path)
    relevant = (settings.tta, settings.operating_point, settings.batch_size, settings.part_batches)
    with cli.naming_flag("--model_path"):
        checked = [(str(path), file_checksum(path)) for path in models]
    key = build_key(paths, [checksum for _, checksum in checked], relevant)
    with cli.naming_flag("--output"):
        folder = make_folder(settings.output)
    parts = Parts(folder, key, paths, settings.batch_size * settings.part_batches)
    missing = parts.find_missing()
    if any(found and found.synthetic for found in map(peek_description, models)):
        print(red(f"warning: {SYNTHETIC_WARNING}"))
    print(
        f"Model: {origin}\n{count_noun(len(paths), 'image')} in {count_noun(len(parts), 'part')}, "
        f"{len(parts) - len(missing)} of them finished.",
        flush=True,
    )
    if missing:
        share = Share(settings.cpus_per_worker, settings.gpus_per_worker)
        with connecting(settings.address) as ray:
            machines = read_machines(ray)
            workers = check_share(share, machines, flags="--cpus_per_worker or --gpus_per_worker")
            workers = min(workers, len(missing))
            print(
                f"Ray {ray.__version__}: {describe_machines(machines)}; "
                f"{count_noun(workers, 'worker')}.\n"
                f"Each computes as `{share.describe()} python predict.py` does.",
                flush=True,
            )
            place = Place(os.getcwd(), share)
            work(ray, settings, place, checked, parts, missing, workers)
    skipped = count_skipped(parts)
    print(f"{count_noun(len(paths) - skipped, 'prediction')} written to {settings.output}")
    if skipped:
        print(
            f"skipped {count_noun(skipped, 'image')}; the column skipped gives the reasons",
            file=sys.stderr,
        )
    return 1 if skipped else 0


def work(
    ray: ModuleType,
    settings: ClusterPredictConfig,
    place: Place,
    models: list[tuple[str, str]],
    parts: Parts,
    missing: list[int],
    workers: int,
) -> None:
    """Predict parts with Ray Data.

    Args:
        ray: the package, connected.
        settings: of the command.
        place: of each worker.
        models: path and checksum of each file.
        parts: of the table.
        missing: those to predict.
        workers: number of models that are loaded at a time.

    Raises:
        InputError: a worker cannot use the model, or memory ran out.
    """
    import ray.data

    from cluster.worker import Worker

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel("ERROR")
    rows = [{"paths": parts.images(index), "file": str(parts.file(index))} for index in missing]
    # Each part is a block of Ray Data: what one task predicts, and what is lost with its worker.
    predicted = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Worker,
        fn_constructor_args=(settings, models, place),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=place.share.cpus,
        num_gpus=place.share.gpus,
    )
    total, finished = len(parts.paths), len(parts) - len(missing)
    done = total - sum(len(row["paths"]) for row in rows)
    progress = Progress("predicting", log_tenths=True)

    def state() -> str:
        count = f"{finished} of {count_noun(len(parts), 'part')}"
        return f"{count} finished; repeat the same command to resume"

    try:
        progress.update(done, total)
        for row in predicted.iter_rows():
            if row["error"]:
                raise InputError(f"{row['error']} ({state()})")
            done, finished = done + row["images"], finished + 1
            progress.update(done, total)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(state()) from None
    finally:
        progress.clear()


def count_skipped(parts: Parts) -> int:
    """Return how many images of a table could not be read, from the statistics of its files."""
    from pyarrow import dataset

    files = [str(parts.file(index)) for index in range(len(parts))]
    table = dataset.dataset(files, format="parquet")
    return table.count_rows(filter=dataset.field("skipped").is_valid())


if __name__ == "__main__":
    sys.exit(main())
