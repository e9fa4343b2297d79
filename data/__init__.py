"""From metadata CSV and JPEGs to batches."""


class DataError(ValueError):
    """Input data cannot be used; the message says what was expected, what came, what to do."""


class DataWarning(UserWarning):
    """Input data can be used, but not as its owner may think."""
