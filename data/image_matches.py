"""Which file is the image of an id."""

import filecmp
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from data import DataError
from data.decoders import IMAGE_SUFFIXES
from data.folders import Folder, describe_masks, relative_name, stem_key
from data.images import image_size_of, load_pixels
from data.masks import name_key
from data.parallel import in_parallel


@dataclass(frozen=True)
class Matches:
    """The image files of some ids.

    Attributes:
        paths: one per id, None where there is no file.
        notes: lines on what was chosen and ignored.
    """

    paths: list[str | None]
    notes: list[str]


def match_images(image_ids: Sequence[str], folder: Folder) -> Matches:
    """Find the image file of each id.

    An id is the name of a file without its suffix or with it, after any folders, in any case and
    Unicode form, and with or without `_downsampled`. Of several files for one id, the one with the
    most pixels is chosen.

    Args:
        image_ids: from a table.
        folder: where the images are.

    Returns:
        A path for each id, and lines on what was chosen and ignored.

    Raises:
        DataError: an id has several files of the same size with different pixels.
    """
    index = _Index(folder, image_ids)
    found = [index.find(image_id) for image_id in image_ids]
    several = [i for i, paths in enumerate(found) if len(paths) > 1]
    paths = [candidates[0] if candidates else None for candidates in found]
    notes = []
    larger: list[str] = []
    choices = in_parallel(lambda i: _choose(image_ids[i], found[i], folder.root), several)
    for i, (path, note) in zip(several, choices, strict=True):
        paths[i] = path
        if note:
            larger.append(note)
    if larger:
        notes.append(f"several files for {len(larger):,} images: used the larger, {larger[0]}")
    if folder.masks:
        notes.append(describe_masks(folder))
    return Matches(paths, notes)


class _Index:
    """The images of a folder by their names."""

    def __init__(self, folder: Folder, image_ids: Sequence[str]) -> None:
        self.root = os.path.abspath(folder.root)
        self.ids_of_stem = Counter(name_key(stem_of_id(image_id)) for image_id in image_ids)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_short_stem: dict[str, list[str]] = defaultdict(list)
        for path in folder.images:
            stem = PurePath(path).stem
            self.by_stem[name_key(stem)].append(path)
            self.by_short_stem[stem_key(stem)].append(path)

    def find(self, image_id: str) -> list[str]:
        """Return the files of an id: exactly those that fit best."""
        wanted = unicodedata.normalize("NFC", image_id).replace("\\", "/")
        *folders, name = wanted.split("/")
        folders = [part for part in folders if part not in ("", ".")]
        if ".." in folders:
            return []
        paths = self.by_stem.get(name_key(name), [])
        stem, suffix = os.path.splitext(name)
        if not paths and suffix.lower() in IMAGE_SUFFIXES:
            paths = self.by_stem.get(name_key(stem), [])
            paths = _prefer(paths, lambda path: PurePath(path).suffix.lower() == suffix.lower())
            name = stem
        if not paths and len(others := self.by_short_stem.get(stem_key(name), [])) == 1:
            # A file that is the image of an id as it is written is not that of another id.
            paths = others if name_key(PurePath(others[0]).stem) not in self.ids_of_stem else []
        if folders:
            inside = [path for path in paths if self._is_in(path, folders)]
            # The folder may have another name here, if there is no doubt which file is meant.
            is_sure = len(paths) == 1 and self.ids_of_stem[name_key(name)] == 1
            inside = _prefer(
                inside, lambda path: self._folders_of(path) == [*map(name_key, folders)]
            )
            paths = inside or (paths if is_sure else [])
        return _prefer(
            paths, lambda path: unicodedata.normalize("NFC", PurePath(path).stem) == name
        )

    def _folders_of(self, path: str) -> list[str]:
        """Return the keys of the folders of a file inside the root."""
        folder = os.path.relpath(os.path.dirname(os.path.abspath(path)), self.root)
        return [name_key(part) for part in PurePath(folder).parts]

    def _is_in(self, path: str, folders: Sequence[str]) -> bool:
        """Tell whether the folders of a file end in given ones, or, inside the root, these in it.

        A table may name the root too, or, on another machine, all folders above it.
        """
        wanted = [name_key(part) for part in folders]
        full = os.path.dirname(os.path.abspath(path))
        inside = self._folders_of(path)
        whole = [name_key(part) for part in PurePath(full).parts]
        return whole[-len(wanted) :] == wanted or wanted[len(wanted) - len(inside) :] == inside


def stem_of_id(image_id: str) -> str:
    """Return the name of an image, or of its file, without its folder and the ending of images."""
    stem, suffix = os.path.splitext(image_id.replace("\\", "/").rpartition("/")[2])
    return stem if suffix.lower() in IMAGE_SUFFIXES else stem + suffix


def _prefer(paths: Iterable[str], condition) -> list[str]:
    paths = list(paths)
    return [path for path in paths if condition(path)] or paths


def _choose(image_id: str, paths: Sequence[str], root: Path) -> tuple[str, str]:
    """Choose among the files of an id; returns a path and, if they differ, a part of a note."""
    first, *others = paths
    if all(filecmp.cmp(first, other, shallow=False) for other in others):
        return first, ""
    sizes = {path: size for path in paths if (size := image_size_of(path))}
    if not sizes:
        return first, ""
    largest = max(width * height for width, height in sizes.values())
    best, *rest = (path for path, (w, h) in sizes.items() if w * h == largest)
    for other in rest:
        if not _same_pixels(best, other):
            raise DataError(
                f"{root}: expected one image named {image_id}, received "
                f"{relative_name(best, root)} and {relative_name(other, root)}, with different "
                "pixels and the same size; remove or rename one of them"
            )
    smaller = [path for path in sizes if path not in (best, *rest)]
    if not smaller:
        return best, ""
    names = [
        f"{relative_name(path, root)} ({sizes[path][0]} x {sizes[path][1]})"
        for path in (best, smaller[0])
    ]
    return best, f"{names[0]} instead of {names[1]}"


def _same_pixels(path: str, other: str) -> bool:
    try:
        return np.array_equal(load_pixels(path), load_pixels(other))
    except DataError:
        return False
