"""Trying what an untrusted file does to a library, in a copy of this process.

TensorFlow Lite and HDF5 are not Python: a file that breaks them ends the process without a word, or
never returns.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

from models import ModelError
from models.backend import quiet
from support.files import first_line

try:
    import resource
except ImportError:  # Windows
    resource = None

# Opening a file and using it once takes less than one.
_MAX_SECONDS = 20
# In addition to what the process has. ConvNeXt-Tiny needs a tenth of it.
_MAX_MEMORY = 2 << 30


def try_first(function: Callable[[], object], *, expected: str) -> None:
    """Call a function in a copy of this process, which may take little memory and time.

    Nothing is tried on Windows, which has no such copies.

    Args:
        function: for example, opens a file; what it returns is lost.
        expected: of the file, for messages.

    Raises:
        ModelError: it fails, crashes, or takes too much; the message says which, and names no file.
    """
    if resource is None:
        return
    receiver, sender = os.pipe()
    with quiet(), warnings.catch_warnings():
        # The copy has none of the threads of this process, and needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
        if child == 0:
            code = 1  # also if there is no memory for a message
            try:
                _limit_this_process()
                function()
                code = 0
            except BaseException as error:
                error.__traceback__ = None  # it holds what filled the memory
                message = _describe_failure(error, expected)
                # A pipe holds so much without a reader.
                os.write(sender, message.encode(errors="replace")[:1000])
            finally:
                os._exit(code)
        os.close(sender)
        with open(receiver, "rb") as file:
            message = file.read().decode(errors="replace")
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return
    is_slow = code in (-signal.SIGALRM, -signal.SIGXCPU)
    crash = f"expected {expected}, it " + ("takes too long" if is_slow else "crashes")
    raise ModelError(message if code == 1 and message else crash)


def _describe_failure(error: BaseException, expected: str) -> str:
    if isinstance(error, ModelError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"expected {expected}, it takes too much memory"
    return f"expected {expected}, it fails: {first_line(error)}"


def _limit_this_process() -> None:
    """Limit memory and time, for a process that ends soon, and end it without a report."""
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_MAX_SECONDS)
    _set_limit(resource.RLIMIT_CPU, _MAX_SECONDS * (os.cpu_count() or 1))
    _set_limit(resource.RLIMIT_CORE, 0)
    with contextlib.suppress(OSError):  # only Linux says how much the process has already
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _set_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + _MAX_MEMORY)


def _set_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard))
