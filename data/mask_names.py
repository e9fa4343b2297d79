"""The names of segmentation masks."""

import os
import re
import unicodedata
from pathlib import PurePath

# A word of the name of a file or folder: not within a word, but after a change of case.
_WORD = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{})(?:(?![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_LESION_MASK = re.compile(
    _WORD.format(r"masks?|segmentations?|segm?s?|ground[ _-]?truths?|gts?|binary")
)
# Task 2 of the ISIC challenges: images of numbers, and masks of structures inside a lesion.
_OTHER_MASK = re.compile(_WORD.format(r"super[ _-]?pixels?|attributes?[ _-][a-z_ -]+"))
SEPARATORS = " _-.()"


def has_mask_name(name: str, *, at_end: bool = False) -> bool:
    """Tell whether a word, or the last word, of the name of a file or folder means a mask."""
    found = [match for word in (_LESION_MASK, _OTHER_MASK) for match in word.finditer(name)]
    return any(match.end() == len(name) or not at_end for match in found)


def name_without_mask(stem: str) -> str | None:
    """Return what a name without suffix holds besides the word for a mask: of `a_mask`, `a`.

    Returns:
        What comes before the word, else what comes after it; None if there is no such word.
    """
    found = _LESION_MASK.search(stem) or _OTHER_MASK.search(stem)
    if not found:
        return None
    return stem[: found.start()].strip(SEPARATORS) or stem[found.end() :].strip(SEPARATORS)


def mask_image_id(path: str | os.PathLike) -> str | None:
    """Return the id of the image whose lesion a mask shows, None if it shows something else.

    `a_segmentation.png`, `a_mask.png`, `mask_a.png` and, in a folder of masks, `a.png` are masks of
    the image `a`; superpixels and dermoscopic attributes are no masks of lesions.
    """
    stem = unicodedata.normalize("NFC", PurePath(path).stem)
    if _OTHER_MASK.search(stem):
        return None
    return name_without_mask(stem) or stem
