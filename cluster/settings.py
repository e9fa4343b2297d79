"""Settings of the commands that run on Ray; `config.py` has those of the three scripts."""

from collections import Counter
from dataclasses import dataclass

from config import OPERATING_POINT_HELP, RUNS_DIR, PredictConfig
from support.cli import Settings, flag

_ADDRESS = "of a running Ray cluster, or auto to find it (default: start Ray on this machine)"


@dataclass(frozen=True, kw_only=True)
class SweepConfig(Settings):
    """Settings of `python -m cluster.sweep`."""

    models: tuple[str, ...] = flag(
        (), "trainings", "models of train.py (default: that of train.py)", metavar="MODEL"
    )
    folds: int = flag(
        0, "trainings", "train all folds of a cross-validation of so many; 0: none", minimum=0
    )
    seeds: tuple[int, ...] = flag((0,), "trainings", "a training for each, of each model and fold")
    output_dir: str = flag(
        f"{RUNS_DIR}/sweep", "trainings", "folder of the runs and tables, on all machines the same"
    )
    address: str | None = flag(None, "cluster", _ADDRESS)
    cpus_per_run: int = flag(2, "cluster", "CPUs and threads of each training", minimum=1)
    gpus_per_run: int = flag(0, "cluster", "GPUs of each training; 0: it uses none", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or min(self.seeds) < 0:
            raise ValueError(f"--seeds should be at least 0, received {list(self.seeds)}")
        for name, values in (("models", self.models), ("seeds", self.seeds)):
            if twice := [value for value, count in Counter(values).items() if count > 1]:
                raise ValueError(f"--{name} should differ, received {twice[0]} twice")


@dataclass(frozen=True, kw_only=True)
class ClusterPredictConfig(Settings):
    """Settings of `python -m cluster.predict`."""

    image: tuple[str, ...] = flag(
        (),
        "input",
        "image files, folders, patterns such as 'dir/*.jpg', and .txt files with a path per line",
        required=True,
    )
    model_path: tuple[str, ...] = flag(
        (), "input", "as for predict.py: model files or folders of runs; several: ensemble"
    )
    output: str = flag(
        "", "output", "folder of Parquet files to write", required=True, metavar="DIR.parquet"
    )
    operating_point: str | None = flag(None, "output", OPERATING_POINT_HELP, metavar="POINT")
    address: str | None = flag(None, "cluster", _ADDRESS)
    cpus_per_worker: int = flag(2, "cluster", "CPUs and threads of each worker", minimum=1)
    gpus_per_worker: int = flag(0, "cluster", "GPUs of each worker; 0: it uses none", minimum=0)
    tta: bool = flag(False, "run", "test-time augmentation, as for predict.py")
    batch_size: int = flag(PredictConfig.batch_size, "run", "images per step", minimum=1)

    # Batches in a part, which is what a worker takes at a time and what is lost with it. Parts of
    # whole batches: an image is in the same batch as with predict.py, and its last digits agree.
    part_batches: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.output.endswith(".parquet"):
            raise ValueError(f"--output should end in .parquet, received {self.output!r}")
