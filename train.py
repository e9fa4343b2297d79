"""Train a skin-lesion classifier: python train.py --model mobilenet"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from typing import TYPE_CHECKING

from config import TrainConfig
from support import cli
from support.files import make_folder, one_line
from support.terminal import format_bytes, format_seconds
from training import OUT_OF_MEMORY
from training.run import Run, new_run
from training.settings import build_train_config, list_presets

if TYPE_CHECKING:
    from training.recipe import Outcome

PROGRAM = "train.py"


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return cli.run(PROGRAM, lambda: train(parse(argv)), out_of_memory=OUT_OF_MEMORY)


def parse(argv: list[str] | None) -> TrainConfig:
    """Return the settings that the flags ask for."""
    return cli.parse(
        TrainConfig,
        argv,
        prog=PROGRAM,
        description=__doc__,
        presets=list_presets(),
        build=build_settings,
    )


def build_settings(given: dict) -> TrainConfig:
    """Return complete settings: from the flags, or with `--resume` from the interrupted run.

    Raises:
        ValueError: flags contradict each other, or there is no such run.
    """
    if "resume" not in given:
        return build_train_config(given)
    others = [f"--{name}" for name in given if name != "resume"]
    if others:
        raise ValueError(f"--resume uses the settings of the run; remove {', '.join(others)}")
    with cli.naming_flag("--resume"):
        settings = Run(given["resume"]).read_config()
    return dataclasses.replace(settings, resume=given["resume"])


def train(settings: TrainConfig) -> int:
    """Read the labels, train, and print the result."""
    if settings.resume:
        run = Run(settings.resume)
        with cli.naming_flag("--resume"):
            run.check_settings(settings)
    else:
        run = new_run(settings.output_dir, settings.model)

    # What is wrong with the data shows before TensorFlow, which takes seconds, is imported.
    from training.dataset import read_labeled_images

    labeled = read_labeled_images(settings)
    with cli.naming_flag("--output_dir"):
        make_folder(settings.output_dir)

    from models.backbones import REPEATABLE_IN_PARALLEL
    from models.backend import start_tensorflow

    start_tensorflow(one_at_a_time=settings.model not in REPEATABLE_IN_PARALLEL)

    from training.recipe import train

    outcome = train(settings, labeled, run)
    print_outcome(outcome, settings, run)
    return 1 if labeled.unused or outcome.skipped else 0


def print_outcome(outcome: Outcome, settings: TrainConfig, run: Run) -> None:
    """Print the metrics of the best epoch, the files, and the next commands."""
    result, frame = outcome.result, outcome.frame
    metric = settings.monitor.replace("_", " ")
    best = "lowest" if settings.monitor == "loss" else "highest"
    stopped = ", stopped early" if result.stopped_early else ""
    test_images = frame.loc[frame["split"] == "test", "path"]
    example = frame["path"].iloc[0] if test_images.empty else test_images.iloc[0]
    model_path, image_path = (shlex.quote(one_line(str(path))) for path in (run.model, example))
    evaluate = f"python evaluate.py --model_path {model_path}"
    if test_images.empty:
        evaluate = "no test images; evaluate.py needs another data set, with --data_dir"
    print(f"""
Best epoch: {result.best_epoch} of {len(result.history)}{stopped} ({best} validation {metric}). \
Training took {format_seconds(outcome.seconds)}.

validation accuracy   {result.best["val_accuracy"]:.3f}
balanced accuracy     {result.best["val_balanced_accuracy"]:.3f}
temperature           {outcome.temperature:.3f}
model                 {run.model} ({format_bytes(run.model.stat().st_size)})
learning curves       {run.learning_curves}
history, split        {run.history}, {run.split}

Next:
  {evaluate}
  python predict.py --model_path {model_path} --image {image_path}""")


if __name__ == "__main__":
    sys.exit(main())
