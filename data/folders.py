"""Going through folders, in a fixed order and through links."""

import os
from collections.abc import Iterator


def walk(root: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Go through a folder and all its subfolders, those that are links included.

    Args:
        root: the folder.

    Yields:
        Each folder and the names of its files, both sorted. A folder to which several links lead
        comes once. Folders ending in `.part` are left out: the download is not done with them.
    """
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            subfolders.clear()
            continue
        seen.add(place)
        subfolders[:] = sorted(name for name in subfolders if not name.endswith(".part"))
        yield folder, sorted(names)
