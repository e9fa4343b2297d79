"""Connecting to a Ray cluster, or starting Ray on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from models.backend import quiet
from support import InputError
from support.files import count_noun, first_line

# Turns off Ray's usage statistics, and its log lines in the output of a command.
_VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
_QUIET = "ERROR"


@dataclass(frozen=True)
class Share:
    """What one training or one worker gets of a machine.

    Attributes:
        cpus: CPUs, and threads of an operation.
        gpus: GPUs; without, it uses none.
    """

    cpus: int
    gpus: int

    def prepare(self, environment: dict[str, str]) -> None:
        """Set the environment variables that TensorFlow reads when it is imported.

        Args:
            environment: of a process that has not imported it.
        """
        # Ray's, which a plain command does not have; TensorFlow has a variable of its own.
        environment.pop("OMP_NUM_THREADS", None)
        environment["TF_NUM_INTRAOP_THREADS"] = str(self.cpus)
        if not self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = "-1"

    def describe(self) -> str:
        """Return the variables with which a plain command computes the same."""
        hidden = "" if self.gpus else "CUDA_VISIBLE_DEVICES=-1 "
        return f"{hidden}TF_NUM_INTRAOP_THREADS={self.cpus}"

    def count(self, machines: list[dict[str, float]]) -> int:
        """Return how many of them fit on machines at a time.

        Args:
            machines: from `read_machines`.
        """
        return sum(
            min(
                int(machine.get("CPU", 0) // self.cpus),
                int(machine.get("GPU", 0) // self.gpus if self.gpus else machine.get("CPU", 0)),
            )
            for machine in machines
        )


@contextlib.contextmanager
def connecting(address: str | None) -> Iterator[ModuleType]:
    """Connect to a cluster, or start Ray on this machine and stop it afterwards.

    Args:
        address: of a cluster, or `auto`; None to start Ray.

    Yields:
        The package ray.

    Raises:
        InputError: there is no cluster.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    import ray

    options = {"include_dashboard": False} if address is None else {}
    try:
        with quiet():
            ray.init(
                address=address or "local", log_to_driver=False, logging_level=_QUIET, **options
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise InputError(f"Ray does not start on this machine: {first_line(error)}") from error
        raise InputError(
            f"--address: expected a running Ray cluster, received {address} "
            f"({first_line(error)}); start one with ray start --head, or leave --address out"
        ) from error
    logging.getLogger("ray").setLevel(_QUIET)
    try:
        yield ray
    finally:
        ray.shutdown()


def read_machines(ray: ModuleType) -> list[dict[str, float]]:
    """Return the resources of each machine of a cluster by their names, such as `CPU`."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def describe_machines(machines: list[dict[str, float]]) -> str:
    """Say how many machines there are, and what they have."""
    parts = [count_noun(len(machines), "machine")]
    for name in ("CPU", "GPU"):
        if total := int(sum(machine.get(name, 0) for machine in machines)):
            parts.append(count_noun(total, name))
    return ", ".join(parts)


def check_share(share: Share, machines: list[dict[str, float]], *, flags: str) -> int:
    """Return how many shares fit on machines at a time, and check that it is at least one.

    Args:
        share: of one.
        machines: from `read_machines`.
        flags: that set it, for the message.

    Raises:
        InputError: no machine is large enough.
    """
    count = share.count(machines)
    if not count:
        gpus = f" and {count_noun(share.gpus, 'GPU')}" if share.gpus else ""
        raise InputError(
            f"expected a machine with {count_noun(share.cpus, 'CPU')}{gpus}, received "
            f"{describe_machines(machines)}; reduce {flags}"
        )
    return count
