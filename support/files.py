"""Files that appear whole or not at all, folders, and text that comes from files."""

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import time
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Parsed, JSON takes up to thirty times its size in memory.
MAX_JSON_BYTES = 1 << 24
# What Windows does not allow in file names, and what separates folders.
_RESERVED = frozenset('<>:"/\\|?*')
# Temporary files that are older than this are those of processes that were killed.
_MAX_SECONDS = 86_400
# Control characters, line separators, parts of broken text.
_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
# Characters that reverse the direction of the text after them.
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
# With these, also at their full width, spreadsheets begin a formula.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file beside its final name, then rename it, so that it is never seen half written.

    Args:
        path: final name; a file of that name is replaced.

    Yields:
        A temporary path in the same folder and with the same suffix, to be written inside the
        block. It has a name of its own, so that two processes may write the same file. When the
        block raises, the temporary file is removed and `path` is left as it was; an `OSError` names
        `path`.
    """
    path = Path(path)
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
        _remove_remains(path, f".{glob.escape(path.stem)}.*.part{glob.escape(path.suffix)}")
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        # A failure to clean up must not hide the error of the block.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_remains(path: Path, pattern: str) -> None:
    """Remove temporary files and folders beside a path, left by processes that were killed."""
    for remains in path.parent.glob(pattern):
        with contextlib.suppress(OSError):  # another process removed it
            if remains.stat().st_mtime >= time.time() - _MAX_SECONDS:
                continue
            if remains.is_dir():
                shutil.rmtree(remains, ignore_errors=True)
            else:
                remains.unlink()


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Write a folder beside its final name, then rename it; see `replacing`.

    Args:
        path: final name; a folder of that name is replaced.

    Yields:
        A temporary path in the same folder, which does not exist, to be written inside the block.
    """
    path, token = Path(path), secrets.token_hex(4)
    temporary, before = (
        path.with_name(f".{path.name}.{token}.{end}") for end in ("part", "before")
    )
    try:
        yield temporary
        # A folder that is not empty cannot be replaced in one step.
        if path.exists():
            os.replace(path, before)
        os.replace(temporary, path)
        _remove_remains(path, f".{glob.escape(path.name)}.*.part")
    except BaseException:
        if before.exists():
            os.replace(before, path)
        raise
    finally:
        for folder in (temporary, before):
            shutil.rmtree(folder, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that holds all of some files: for one, the folder that it is in.

    Args:
        paths: at least one.
    """
    folders = [path.parent for path in paths]
    if len(set(folders)) == 1:
        return folders[0]
    try:
        return Path(os.path.commonpath(map(os.path.abspath, folders)))
    except ValueError:  # on several drives
        return folders[0]


def make_folder(folder: str | os.PathLike) -> Path:
    """Create a folder, with its parents, unless it exists, and check that it is writable.

    Raises:
        OSError: it cannot be created or written; the message names it.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "it is read-only"
    except OSError as error:
        reason = "it is a file" if folder.is_file() else describe_os_error(error)
    if reason:
        raise OSError(f"expected a writable folder, received {folder} ({reason}); choose another")
    return folder


def file_state(path: str | os.PathLike) -> bytes:
    """Return bytes that identify a file in its present state: its path, size and date."""
    path = os.path.abspath(path)
    try:
        state = os.stat(path)
        text = f"\0{state.st_size}\0{state.st_mtime_ns}\0"
    except OSError:
        text = "\0missing\0"
    return os.fsencode(path) + text.encode()


def walk(root: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Walk through a folder and all its subfolders, following links.

    Yields:
        The path of each folder and the names of its files, both sorted. A folder that several
        links point to comes once. Folders that end in `.part`, unfinished downloads, are skipped;
        so are, with a warning, subfolders that cannot be read.

    Raises:
        OSError: the folder itself cannot be read.
    """

    def handle(error: OSError) -> None:
        if error.filename == os.fspath(root):
            raise error
        warnings.warn(f"skipped {describe_os_error(error)}", stacklevel=2)

    seen = set()
    for folder, subfolders, names in os.walk(root, onerror=handle, followlinks=True):
        real_path = os.path.realpath(folder)
        if real_path in seen:
            subfolders.clear()
            continue
        seen.add(real_path)
        subfolders[:] = sorted(name for name in subfolders if not name.endswith(".part"))
        yield folder, sorted(names)


def read_json(path: str | os.PathLike, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file that may have been written by anybody.

    Raises:
        ValueError: it is too large, nested too deeply, or no JSON.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return parse_json(file.read(max_bytes + 1), max_bytes=max_bytes)


def parse_json(data: bytes, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Parse JSON that may have been written by anybody.

    Raises:
        ValueError: it is too large, nested too deeply, or no JSON.
    """
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes >> 20} MiB")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def one_line(text: str) -> str:
    """Return text from a file or a file name as one printable line.

    Control characters, with which a text could steer a terminal, become question marks.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def list_names(names: Iterable[str], limit: int = 10) -> str:
    """Return the first of some names, and how many more there are, for a message of one line."""
    names = [one_line(name)[:300] for name in names]
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def join_names(names: Iterable[str]) -> str:
    """Return names as in `a, b and c`."""
    *names, last = [*names] or [""]
    return f"{', '.join(names)} and {last}" if names else last


def capitalize(text: str) -> str:
    """Return text with a capital first letter and all others as they are, unlike `str`'s."""
    return f"{text[:1].upper()}{text[1:]}"


def count_noun(count: int, noun: str) -> str:
    """Return a number and a noun, in the plural unless there is one: `1 image`, `2 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def safe_name(text: str, *, max_bytes: int = 200) -> str:
    """Return text as a part of a file name that is valid everywhere and names no other folder.

    Args:
        text: from anybody.
        max_bytes: a file name has at most 255 bytes.
    """
    letters = (c if c.isprintable() and c not in _RESERVED else "_" for c in text)
    name = "".join(letters).encode()[:max_bytes].decode(errors="ignore")
    # Dots alone name a folder, a dot in front hides a file, and Windows drops one at the end.
    return name.strip(". ") or "_"


def is_path_text(text: str) -> bool:
    """Tell whether text can be a path: without the null character, and encodable."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def escape_controls(text: str) -> str:
    r"""Write control characters and those that reverse text as in JSON, such as `\u001b`."""
    return "".join(f"\\u{ord(letter):04x}" if _is_control(letter) else letter for letter in text)


def csv_cell(text: str) -> str:
    """Return text as a cell that no spreadsheet program takes for a formula.

    Args:
        text: from anybody; a cell that begins as a formula gets an apostrophe in front.
    """
    text = escape_controls(text)
    return f"'{text}" if text.startswith(_FORMULA_SIGNS) else text


def _is_control(letter: str) -> bool:
    return (
        unicodedata.category(letter) in _CONTROLS
        or unicodedata.bidirectional(letter) in _DIRECTIONS
    )


def describe_os_error(error: OSError) -> str:
    """Return the reason of an `OSError` and its file, without the number of the error."""
    if not error.strerror:
        return str(error)
    reason = error.strerror[0].lower() + error.strerror[1:]
    if error.errno == errno.ENOSPC:
        reason += "; free some disk space"
    return f"{error.filename}: {reason}" if error.filename else reason


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
