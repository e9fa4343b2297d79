"""Files that appear whole or not at all, folders, and text that comes from files."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file beside its final name, then rename it, so that it is never seen half written.

    Args:
        path: final name; a file of that name is replaced.

    Yields:
        A temporary path in the same folder and with the same suffix, to be written inside the
        block. When the block raises, the temporary file is removed and `path` is left as it was;
        an `OSError` names `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        # A failure to clean up must not hide the error of the block.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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


def walk(root: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Walk through a folder and all its subfolders, following links.

    Yields:
        The path of each folder and the names of its files, both sorted. A folder that several
        links point to comes once. Folders that end in `.part`, unfinished downloads, are skipped.
    """
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real_path = os.path.realpath(folder)
        if real_path in seen:
            subfolders.clear()
            continue
        seen.add(real_path)
        subfolders[:] = sorted(name for name in subfolders if not name.endswith(".part"))
        yield folder, sorted(names)


def one_line(text: str) -> str:
    """Return text from a file or a file name as one printable line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


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
