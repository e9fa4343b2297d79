"""Where a job or a worker runs, on any machine of a cluster."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from cluster.connection import Share
from support import InputError


@dataclass(frozen=True)
class Place:
    """Where a job or a worker runs, on any machine.

    Attributes:
        folder: the current one of the command, which relative paths start from.
        share: of the machine.
    """

    folder: str
    share: Share

    def enter(self) -> None:
        """Make the folder the current one of this process.

        Raises:
            InputError: this machine does not have it.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise InputError(
                f"expected the folder {self.folder} on the machine {platform.node()}, found none; "
                "the project, the data and the results have to have the same paths on all machines"
            ) from error
