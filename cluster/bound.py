"""Run a Python script that ends when its parent does: python bound.py PARENT SCRIPT FLAGS

Ray kills the worker process of a task, not what that has started: a training that goes on without
its worker would write into the folder in which another machine has taken over.
"""

import os
import signal
import sys

# Of Linux, see prctl(2).
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process by the script."""
    parent, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before.
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main()
