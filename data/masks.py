"""Finding segmentation masks among image files."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from data.images import is_mask
from data.mask_names import SEPARATORS, has_mask_name, name_without_mask
from data.parallel import in_parallel

# A few files of a group that is named alike are enough to see whether they are masks.
_SAMPLES = 5


def find_mask_files(images: Sequence[str], root: str | os.PathLike) -> set[str]:
    """Find the segmentation masks among image files.

    A file that is named as a mask, or is in a folder that is, and shows another image by its name
    is one. Where names do not decide, the content of a few files of each group does.

    Args:
        images: image files.
        root: the folder that holds them; its own name says nothing.

    Returns:
        Those that are masks.
    """
    named: dict[str, str] = {}  # file: the image that it belongs to, by its name
    marked: dict[str, bool] = {}  # folder: whether its name, or that of a folder above, is a mask's
    for path in images:
        folder, name = os.path.split(path)
        stem = os.path.splitext(name)[0]
        if folder not in marked:
            marked[folder] = has_mask_name(os.path.relpath(folder, root))
        base = name_without_mask(stem)
        if base is not None or marked[folder]:
            named[path] = name_key(base or stem)
    stems = Counter(name_key(PurePath(path).stem) for path in images if path not in named)

    masks = {path for path, base in named.items() if base in stems}
    groups: dict[tuple, list[str]] = defaultdict(list)
    for path in images:
        if path in masks:
            continue
        folder, name = os.path.split(path)
        stem, suffix = os.path.splitext(name)
        key = name_key(stem)
        if path in named:
            groups["named", folder, suffix.lower()].append(path)
        elif stems[key] > 1:
            groups["shared", folder, suffix.lower()].append(path)
        elif addition := _addition(key, stems):
            groups["added", re.sub(r"\d+", "#", addition), suffix.lower()].append(path)
        else:
            groups["alone", folder, suffix.lower()].append(path)
    # All groups at once: there may be thousands, of a file each.
    found = _are_masks([(path, group) for group in groups for path in _sample(groups[group])])
    undecided = []
    for group, paths in groups.items():
        sample = {found[path] for path in _sample(paths)}
        if _is_strict(group) or len(sample) == 1 or len(paths) <= _SAMPLES:
            continue
        undecided += [(path, group) for path in paths if path not in found]
    found |= _are_masks(undecided)
    for group, paths in groups.items():
        masks.update(_masks_of_group(paths, found, strict=_is_strict(group)))
    return masks


def name_key(text: str) -> str:
    """Return a name in a form that is the same in all cases and Unicode forms."""
    return unicodedata.normalize("NFC", text).casefold()


def _addition(stem: str, stems: Counter[str]) -> str:
    """Return what a stem adds to the stem of another file: of `a_lesion`, `_lesion`."""
    for end in range(len(stem) - 1, 0, -1):
        if stem[end] in SEPARATORS and stem[:end] in stems:
            addition = stem[end:]
            return addition if re.search(r"[^\W\d_]", addition) else ""
    return ""


def _is_strict(group: tuple) -> bool:
    """Tell whether all files of a group, whose names say nothing, have to look like masks."""
    return group[0] == "alone"


def _sample(paths: Sequence[str]) -> list[str]:
    """Return a few of the files of a group, or all of a small one."""
    if len(paths) <= _SAMPLES:
        return list(paths)
    step = (len(paths) - 1) / (_SAMPLES - 1)
    return [paths[round(i * step)] for i in range(_SAMPLES)]


def _are_masks(files: Sequence[tuple[str, tuple]]) -> dict[str, bool]:
    """Tell by their content which files, with the group of each, are masks."""
    found = in_parallel(lambda item: is_mask(item[0], strict=_is_strict(item[1])), files)
    return {path: is_one for (path, _), is_one in zip(files, found, strict=True)}


def _masks_of_group(paths: Sequence[str], found: Mapping[str, bool], *, strict: bool) -> list[str]:
    """Return the masks among files that are named alike.

    Args:
        paths: the files.
        found: whether they are masks; of a group whose sample agrees, only the sample.
        strict: whether all of them are masks or none.
    """
    known = [found[path] for path in paths if path in found]
    if all(known):
        return list(paths)
    return [] if strict or not any(known) else [path for path in paths if found[path]]
