"""Train many models: python -m cluster.sweep --folds 5 --seeds 0 1 -- --data_dir datasets/clinic

Flags after -- are those of train.py, for all trainings. Each training is a task of Ray with a
folder of its own; the same command resumes an interrupted one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from cluster.connection import (
    Share,
    check_share,
    connecting,
    describe_machines,
    read_machines,
)
from cluster.place import Place
from cluster.plan import (
    CrossValidation,
    Job,
    Training,
    check_data,
    plan_cross_validations,
    plan_trainings,
)
from cluster.settings import SweepConfig
from config import TrainConfig
from support import cli
from support.files import count_noun, first_line, make_folder
from support.terminal import Progress, format_seconds
from training.settings import list_presets

PROGRAM = "python -m cluster.sweep"
REQUIREMENTS = "requirements-ray.txt"
# Further attempts of a training whose worker is lost or which a signal ends.
_RETRIES = 3
# How often Ctrl-C is looked for.
_WAIT_SECONDS = 1.0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return cli.run(PROGRAM, lambda: sweep(*parse(argv)), requirements=REQUIREMENTS)


def parse(argv: list[str] | None) -> tuple[SweepConfig, list[Training]]:
    """Return the settings and the trainings that the command line asks for, or exit with code 2."""
    argv = sys.argv[1:] if argv is None else list(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    arguments = argv[end + 1 :]
    settings = cli.parse(SweepConfig, argv[:end], prog=PROGRAM, description=__doc__)
    trainings = cli.parse(
        TrainConfig,
        arguments,
        prog=f"{PROGRAM} --",
        description="Flags of train.py, for all trainings of the sweep.",
        presets=list_presets(),
        build=lambda given: plan_trainings(settings, given, arguments),
    )
    return settings, trainings


def sweep(settings: SweepConfig, trainings: list[Training]) -> int:
    """Do what is left of the trainings, and print and write the tables."""
    check_data(trainings[0].settings)
    for training in trainings:
        training.check_run()
    with cli.naming_flag("--output_dir"):
        make_folder(settings.output_dir)
    groups = plan_cross_validations(settings, trainings)
    left = [training for training in trainings if not training.is_finished]
    unmeasured = [group for group in groups if not group.is_finished]
    print(
        f"{count_noun(len(trainings), 'training')} in {settings.output_dir}, "
        f"{len(trainings) - len(left)} of them finished.",
        flush=True,
    )
    failed = 0
    if left or unmeasured:
        share = Share(settings.cpus_per_run, settings.gpus_per_run)
        with connecting(settings.address) as ray:
            machines = read_machines(ray)
            flags = "--cpus_per_run or --gpus_per_run"
            at_once = check_share(share, machines, flags=flags)
            print(
                f"Ray {ray.__version__}: {describe_machines(machines)}; at most "
                f"{count_noun(at_once, 'training')} at a time.\n"
                f"Each computes as `{share.describe()} python train.py` does.",
                flush=True,
            )
            failed = JobQueue(ray, share, left, unmeasured).run()
    from cluster.job import read_record
    from cluster.summary import (
        format_models,
        format_runs,
        read_runs,
        summarize_models,
        write_summary,
    )

    runs = read_runs(trainings)
    if runs.empty:
        print("\nNo training is finished, so there is no table.", file=sys.stderr)
        return 1
    models = summarize_models(runs, [group for group in groups if group.is_finished])
    files = write_summary(Path(settings.output_dir), runs, models)
    print(f"\n{format_runs(runs)}\n\n{format_models(models)}\n")
    print("Written: " + ", ".join(map(str, files)))
    skipped = any(read_record(training).code for training in trainings)
    return 1 if failed or skipped or len(runs) < len(trainings) else 0


class JobQueue:
    """The tasks of Ray: trainings, and the measurement of all folds as soon as they are trained.

    Args:
        ray: the package, connected.
        share: of a machine, for each.
        trainings: that are not finished.
        groups: cross-validations that are not measured.
    """

    def __init__(
        self,
        ray: ModuleType,
        share: Share,
        trainings: list[Training],
        groups: list[CrossValidation],
    ) -> None:
        from cluster.job import KilledError, do_job

        self.ray, self.trainings, self.groups = ray, trainings, list(groups)
        self.place = Place(os.getcwd(), share)
        self.task = ray.remote(do_job).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_retries=_RETRIES,
            retry_exceptions=[KilledError],
        )
        self.pending: dict = {}
        self.failed = 0

    def run(self) -> int:
        """Wait for all tasks; returns the number of those that failed."""
        for training in self.trainings:
            self._submit(training)
        self._submit_trained()
        progress, done = Progress("sweep", unit="tasks"), 0
        try:
            while self.pending:
                ready, _ = self.ray.wait([*self.pending], num_returns=1, timeout=_WAIT_SECONDS)
                for reference in ready:
                    progress.clear()
                    self._finish(reference)
                    done += 1
                self._submit_trained()
                progress.update(done, done + len(self.pending))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{done} of {done + len(self.pending)} tasks are done; repeat the same command to "
                "resume"
            ) from None
        return self.failed

    def _submit(self, job: Job) -> None:
        self.pending[self.task.remote(job, self.place)] = job

    def _submit_trained(self) -> None:
        """Submit the cross-validations all of whose folds are trained."""
        for group in [group for group in self.groups if group.is_trained]:
            self.groups.remove(group)
            self._submit(group)

    def _finish(self, reference) -> None:
        """Print how a task ended."""
        job = self.pending.pop(reference)
        try:
            finished = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self._fail(job, first_line(cause))
            return
        if not finished.is_done:
            self._fail(job, finished.message)
            return
        took = "" if finished.seconds is None else f" in {format_seconds(finished.seconds)}"
        print(f"{job.name}: finished{took}{', resumed' if finished.resumed else ''}", flush=True)

    def _fail(self, job: Job, reason: str) -> None:
        self.failed += 1
        print(f"{job.name}: failed: {reason} ({job.log})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
