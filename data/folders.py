"""What a folder holds: tables, images and segmentation masks."""

import functools
import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from data import DataError, warn
from data.decoders import IMAGE_SUFFIXES, REFUSED_SUFFIXES, decodable_suffixes
from data.mask_names import mask_image_id
from data.masks import find_mask_files, name_key
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
    note = _count_masks([path for path in inside if path in masks], root) if masks else ""
    if not images:
        found = f"only {note}" if note else "none"
        raise DataError(
            f"expected images in the folder {root}, found {found}; choose another folder"
        )
    if note:
        warn(f"{root}: ignored {note}")
    return images


def find_masks(data_dir: str | os.PathLike) -> dict[str, str]:
    """Find the segmentation masks of lesions.

    Tschandl et al., *Human-computer collaboration for skin cancer recognition*, Nature Medicine 26
    (2020), doi:10.1038/s41591-020-0942-0, published them for all of HAM10000.

    Args:
        data_dir: folder of the data set, searched with all its subfolders, or one table in it.

    Returns:
        Path by image_id, such as that of `<image_id>_segmentation.png`; empty if there are none.
    """
    masks: dict[str, str] = {}
    for path in list_data_folder(data_dir).masks:
        if image_id := mask_image_id(path):
            masks.setdefault(image_id, path)
    return masks


def describe_masks(folder: Folder) -> str:
    """Return a line that counts the masks of a folder."""
    return f"ignored: {_count_masks(folder.masks, folder.root)}"


def _count_masks(masks: Sequence[str], root: str | os.PathLike) -> str:
    count = count_noun(len(masks), "segmentation mask")
    return f"{count}, such as {relative_name(masks[0], root)}"


def relative_name(path: str, root: str | os.PathLike) -> str:
    """Return a path relative to a folder, as one line."""
    return one_line(os.path.relpath(path, root))
