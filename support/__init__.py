"""What every part of the project needs: the command line, the terminal, files. Imports no other."""

from support.files import one_line

# Of a message; what it quotes may come from anybody and be of any length.
_MAX_LENGTH = 4000


class InputError(ValueError):
    """Input cannot be used; the message is one printable line: expected, received, remedy.

    `support.cli.run` prints it and returns exit code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message[:_MAX_LENGTH]))
