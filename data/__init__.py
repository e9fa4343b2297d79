"""From labels and image files to batches."""

import warnings

from support import InputError
from support.files import one_line


class DataError(InputError):
    """Data cannot be used; the message is one line: expected, received, remedy."""


class DataWarning(UserWarning):
    """Data can be used, but perhaps not in the way that the user expects."""


def warn(message: str) -> None:
    """Issue a one-line `DataWarning` that points to the caller's caller."""
    warnings.warn(one_line(message), DataWarning, stacklevel=3)
