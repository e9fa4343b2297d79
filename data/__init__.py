"""From metadata CSV and JPEGs to batches."""


def one_line(text: str) -> str:
    """Return a text of whatever a file or its name holds as one printable line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class DataError(ValueError):
    """Input data cannot be used; the message says what was expected, what came, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class DataWarning(UserWarning):
    """Input data can be used, but not as its owner may think."""
