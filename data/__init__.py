"""From labels and image files to batches."""

from support import InputError


class DataError(InputError):
    """Data cannot be used; the message is one line: expected, received, remedy."""


class DataWarning(UserWarning):
    """Data can be used, but perhaps not in the way that the user expects."""
