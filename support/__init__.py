"""What every part of the project needs: the command line, the terminal, files. Imports no other."""

from support.files import one_line


class InputError(ValueError):
    """Input cannot be used; the message is one line: expected, received, remedy.

    `support.cli.run` prints it and returns exit code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
