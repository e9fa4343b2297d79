"""The command line of every script: a dataclass becomes flags, an exception an exit code.

Exit codes: 0 done; 1 some files could not be used, the others are done; 2 wrong usage or input;
130 stopped by Ctrl-C; 141 the reader of the output closed the pipe.
"""

import argparse
import contextlib
import dataclasses
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support import InputError
from support.files import describe_os_error, is_path_text, one_line

_ROOT = Path(__file__).parent.parent


def flag(
    default: Any,
    group: str,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    required: bool = False,
    metavar: str | None = None,
) -> Any:
    """Declare a field of a configuration that is also a flag.

    Args:
        default: value without the flag; `dataclasses.MISSING` where a preset always sets it.
        group: heading of `--help` that the flag belongs to.
        help: unit and effect in one line.
        minimum: smallest number allowed.
        maximum: largest number allowed.
        choices: all values allowed.
        required: whether the flag must be given.
        metavar: name of the value in `--help`; by default N for a number, else the last word of
            the field's name.
    """
    metadata = {"group": group, "help": help, "required": required, "metavar": metavar}
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata | limits)


class Settings:
    """Base of all configurations: values outside the limits of their fields are refused."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, name = getattr(self, item.name), item.name
            low, high = item.metadata.get("minimum"), item.metadata.get("maximum")
            choices = item.metadata.get("choices")
            if not _has_type(value, item.type):
                raise ValueError(
                    f"--{name} should be {_describe_type(item.type)}, received {value!r:.50}"
                )
            # Written so that NaN fails as well.
            if low is not None and value is not None and not value >= low:
                raise ValueError(f"--{name} should be at least {low}, received {value}")
            if high is not None and value is not None and not value <= high:
                raise ValueError(f"--{name} should be at most {high}, received {value}")
            if choices and value is not None and value not in choices:
                raise ValueError(
                    f"--{name} should be one of {', '.join(choices)}, received {value!r}"
                )


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse` parser that accepts whole flags only and reports errors in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> typing.NoReturn:
        """Print one line and exit with code 2."""
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")


def parse(
    config_class: type,
    argv: list[str] | None,
    *,
    prog: str,
    description: str | None,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    build: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Parse a command line into one complete configuration, or exit with code 2.

    Args:
        config_class: a dataclass whose fields are declared with `flag`.
        argv: the arguments; None for those of the process.
        prog: name of the command.
        description: what the command does.
        choices: allowed values of fields, where only the caller knows them.
        presets: values that replace defaults, by the name that `--help` shows.
        build: makes the configuration from the flags that were given; raises ValueError where they
            contradict each other. By default `config_class(**flags)`.
    """
    parser = ArgumentParser(prog=prog, description=description)
    add_arguments(parser, config_class, choices=choices, presets=presets)
    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(parser.parse_args(argv)).items()
    }
    try:
        return build(given) if build else config_class(**given)
    except ValueError as error:
        parser.error(str(error))


def add_arguments(
    parser: argparse.ArgumentParser,
    config_class: type,
    *,
    choices: Mapping[str, tuple[str, ...]] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Add a flag for each field of a configuration that is declared with `flag`.

    Defaults are suppressed: the namespace holds only the flags that were given, so that presets
    can replace defaults but not flags.

    Args:
        parser: receives the flags, in the groups that the fields name.
        config_class: a dataclass whose fields are declared with `flag`.
        choices: as for `parse`.
        presets: as for `parse`.
    """
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(config_class):
        if "help" not in item.metadata:
            continue
        name = item.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        options: dict[str, Any] = {
            "default": argparse.SUPPRESS,
            "help": _help_with_default(item, presets or {}),
            "required": item.metadata["required"],
        }
        if item.type is bool:
            options["action"] = "store_true"
        else:
            allowed = (choices or {}).get(item.name, item.metadata["choices"])
            options |= {"type": _value_type(item), "choices": allowed}
            if allowed is None:
                is_number = options["type"] in (int, float)
                default = "N" if is_number else item.name.rpartition("_")[2].upper()
                options["metavar"] = item.metadata["metavar"] or default
            if typing.get_origin(item.type) is tuple:
                # A flag that is given twice adds values, and loses none.
                options |= {"nargs": "+", "action": "extend"}
        groups[name].add_argument(f"--{item.name}", **options)


def run(
    prog: str,
    command: Callable[[], int],
    *,
    out_of_memory: str = "out of memory",
    requirements: str = "requirements.txt",
) -> int:
    """Run a command and return its exit code; what stops it becomes one line on stderr.

    Args:
        prog: name of the command, before each message.
        command: does the work and returns 0 or 1.
        out_of_memory: message when memory runs out, with the remedy.
        requirements: file of the packages that the command needs.
    """
    # A console that cannot show a character gets a question mark, not a traceback.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # Pillow's, on damaged metadata of images, name no file, and the pixels are sound.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        try:
            code = command()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            # Nobody reads any more; without this, Python would complain when it exits.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except InputError as error:
            message = str(error)
        except OSError as error:
            message = describe_os_error(error)
        except KeyboardInterrupt as stop:
            message = one_line("; ".join(["stopped", *map(str, stop.args)]))
            print(f"\n{prog}: {message}", file=sys.stderr)
            return 130
        except ImportError as error:
            package = _missing_package(error)
            if not package:
                raise
            message = f"the package {package} is not installed: pip install -r {requirements}"
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = out_of_memory
    print(f"{prog}: error: {one_line(message)}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def naming_flag(name: str) -> Iterator[None]:
    """Put a flag in front of the message of an `InputError`: libraries know values, not flags.

    Args:
        name: such as `--data_dir`.
    """
    try:
        yield
    except InputError as error:
        raise type(error)(f"{name}: {error}") from error
    except OSError as error:
        raise OSError(f"{name}: {describe_os_error(error)}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether Python or TensorFlow, which is not imported for this, ran out of memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def _missing_package(error: BaseException | None) -> str:
    """Return the package whose absence caused an error, empty if that was not the cause."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            is_ours = (_ROOT / package).exists() or (_ROOT / f"{package}.py").exists()
            return "" if is_ours else package
        error = error.__cause__ or error.__context__
    return ""


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """Print a warning as one line on stderr; replaces `warnings.showwarning`."""
    # One write: threads warn too, and `print` writes the end of the line separately.
    sys.stderr.write(f"warning: {one_line(str(message))}\n")


def _has_type(value: Any, expected: Any) -> bool:
    """Tell whether a value, perhaps from JSON, can be used where a type is expected."""
    if isinstance(expected, types.UnionType):
        return any(_has_type(value, option) for option in typing.get_args(expected))
    if typing.get_origin(expected) is tuple:
        options = typing.get_args(expected)
        if not isinstance(value, tuple):
            return False
        if options[-1] is not ...:
            return len(value) == len(options) and all(map(_has_type, value, options))
        return all(_has_type(item, options[0]) for item in value)
    if expected is float:
        # Not a bool; no infinity, and no integer that is too large for a float. NaN is the limits'.
        return type(value) in (int, float) and not abs(value) > sys.float_info.max
    if expected is int:
        return type(value) is int and abs(value) < 1 << 63
    if expected is str:
        return isinstance(value, str) and is_path_text(value)
    return isinstance(value, expected)


def _describe_type(expected: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    if isinstance(expected, types.UnionType):
        return " or ".join(_describe_type(option) for option in typing.get_args(expected))
    if typing.get_origin(expected) is tuple:
        options = typing.get_args(expected)
        count = "" if options[-1] is ... else f"{len(options)} "
        kind = "numbers" if options[0] is float else "texts"
        return f"a list of {count}{kind}"
    return names.get(expected, "null")


def _value_type(item: dataclasses.Field) -> type:
    """Return the type of one value: `str` for `str | None` and for `tuple[str, ...]`."""
    if isinstance(item.type, types.UnionType) or typing.get_origin(item.type) is tuple:
        return typing.get_args(item.type)[0]
    return item.type


def _help_with_default(item: dataclasses.Field, presets: Mapping[str, Mapping[str, Any]]) -> str:
    text = item.metadata["help"].replace("%", "%%")
    if item.type is bool or item.metadata["required"]:
        return text
    has_default = item.default not in (None, (), dataclasses.MISSING)
    parts = [f"default: {item.default}"] if has_default else []
    parts += [
        f"{name}: {values[item.name]}"
        for name, values in presets.items()
        if item.name in values and values[item.name] != item.default
    ]
    return f"{text} ({'; '.join(parts)})" if parts else text
