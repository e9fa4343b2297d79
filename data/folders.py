"""What a folder holds: tables, images and segmentation masks, and the image of each id."""

import filecmp
import functools
import glob
import os
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from data import DataError, DataWarning
from data.images import (
    IMAGE_SUFFIXES,
    REFUSED_SUFFIXES,
    decodable_suffixes,
    image_size_of,
    load_pixels,
)
from data.masks import find_mask_files, name_key
from data.parallel import in_parallel
from support.files import count_noun, one_line, walk

TABLE_SUFFIXES = (".csv", ".tab", ".tsv", ".txt", "")
# What macOS and Windows leave in folders: a folder, and files.
_SYSTEM_FOLDER = "__MACOSX"
_SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini")
# ISIC 2019 has some images under such a name, of which other data sets have the original.
_DOWNSAMPLED = re.compile("_downsampled$", re.IGNORECASE)


@dataclass(frozen=True)
class Folder:
    """What a folder and its subfolders hold.

    Attributes:
        root: the folder.
        tables: files that may be tables, sorted.
        images: image files without masks, sorted.
        masks: segmentation masks, sorted.
    """

    root: Path
    tables: list[Path]
    images: list[str]
    masks: list[str]

    @functools.cached_property
    def stems(self) -> Collection[str]:
        """The names of the images, as `stem_key` returns them."""
        return {stem_key(PurePath(path).stem) for path in self.images}


@dataclass(frozen=True)
class Matches:
    """The image files of some ids.

    Attributes:
        paths: one per id, None where there is no file.
        notes: lines on what was chosen and ignored.
    """

    paths: list[str | None]
    notes: list[str]


def list_folder(root: str | os.PathLike) -> Folder:
    """List the possible tables, the images and the segmentation masks of a folder.

    Args:
        root: searched with all its subfolders.

    Returns:
        The files; all others are ignored.
    """
    tables: list[Path] = []
    images: list[str] = []
    for folder, names in _walk(root):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_SUFFIXES:
                images.append(os.path.join(folder, name))
            elif suffix in TABLE_SUFFIXES:
                tables.append(Path(folder, name))
    images.sort()
    masks = find_mask_files(images, root)
    return Folder(
        Path(root),
        sorted(tables),
        [path for path in images if path not in masks],
        [path for path in images if path in masks],
    )


def list_data_folder(data_dir: str | os.PathLike) -> Folder:
    """List a data folder, or that of a table of labels.

    Args:
        data_dir: a folder; or a table, whose images are in its folder, or else in the one above.
    """
    path = Path(data_dir)
    if not path.is_file():
        return list_folder(path)
    folder = list_folder(path.parent)
    if not folder.images:
        above = list_folder(path.absolute().parent.parent)
        folder = above if above.images else folder
    return folder


def _walk(root: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Walk through a folder as `support.files.walk`, without what systems leave in it."""
    for folder, names in walk(root):
        if _SYSTEM_FOLDER not in PurePath(os.path.relpath(folder, root)).parts:
            # macOS writes resource forks, named like the file, to the disks of other systems.
            yield (
                folder,
                [n for n in names if not n.startswith("._") and n.lower() not in _SYSTEM_FILES],
            )


def stem_key(stem: str) -> str:
    """Return the name of an image, without suffix, in a form that is the same in all variants.

    In any case and Unicode form, and without `_downsampled` at its end.
    """
    return name_key(without_downsampled(stem))


def without_downsampled(stem: str) -> str:
    """Return the name of an image, without suffix, without `_downsampled` at its end."""
    return _DOWNSAMPLED.sub("", stem)


def find_images(sources: Iterable[str | os.PathLike]) -> list[str]:
    """List image files and the image files in folders.

    Args:
        sources: files, taken as they are; folders, searched with all their subfolders for files
            with the suffix of an image, without segmentation masks; and, where there is no such
            file, patterns with `*`, `?`, `[` and `**`, as for `glob`.

    Returns:
        Paths in the order of the sources, sorted within a folder or pattern.

    Raises:
        DataError: a folder has no images, or no file matches a pattern.
    """
    paths: list[str] = []
    for source in map(os.fspath, sources):
        found = [source]
        if glob.has_magic(source) and not os.path.lexists(source):
            found = sorted(glob.glob(source, recursive=True))
            if not found:
                raise DataError(
                    f"expected files that match {source}, found none; correct the pattern"
                )
        for path in found:
            paths += _images_below(path) if os.path.isdir(path) else [path]
    return paths


def _images_below(root: str) -> list[str]:
    suffixes = decodable_suffixes() | set(REFUSED_SUFFIXES)
    inside = sorted(
        os.path.join(folder, name)
        for folder, names in _walk(root)
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes
    )
    masks = find_mask_files(inside, root)
    images = [path for path in inside if path not in masks]
    note = _count_masks([path for path in inside if path in masks], root)
    if not images:
        found = f"only {note}" if masks else "none"
        raise DataError(
            f"expected images in the folder {root}, found {found}; choose another folder"
        )
    if masks:
        warnings.warn(one_line(f"{root}: ignored {note}"), DataWarning, stacklevel=3)
    return images


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


def describe_masks(folder: Folder) -> str:
    """Return a line that counts the masks of a folder."""
    return f"ignored: {_count_masks(folder.masks, folder.root)}"


def _count_masks(masks: Sequence[str], root: str | os.PathLike) -> str:
    if not masks:
        return ""
    count = count_noun(len(masks), "segmentation mask")
    return f"{count}, such as {_relative(masks[0], root)}"


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
                f"{_relative(best, root)} and {_relative(other, root)}, with different pixels and "
                "the same size; remove or rename one of them"
            )
    smaller = [path for path in sizes if path not in (best, *rest)]
    if not smaller:
        return best, ""
    names = [
        f"{_relative(path, root)} ({sizes[path][0]} x {sizes[path][1]})"
        for path in (best, smaller[0])
    ]
    return best, f"{names[0]} instead of {names[1]}"


def _relative(path: str, root: str | os.PathLike) -> str:
    return one_line(os.path.relpath(path, root))


def _same_pixels(path: str, other: str) -> bool:
    try:
        return np.array_equal(load_pixels(path), load_pixels(other))
    except DataError:
        return False
