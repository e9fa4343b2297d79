"""What counts as one lesion where a data set does not name the lesions."""

import pandas as pd
import pytest

from data.groups import describe_grouping, group_images
from data.near_duplicates import Pair


def frame_of(lesions: str) -> pd.DataFrame:
    """A frame of images a, b, ..., a dot for each of unknown lesion."""
    names = [chr(ord("a") + i) for i in range(len(lesions))]
    ids = [
        name if known == "." else f"L{known}" for name, known in zip(names, lesions, strict=True)
    ]
    return pd.DataFrame({"image_id": names, "lesion_id": ids}, index=range(10, 10 + len(names)))


def groups(lesions: str, hashes: str, *pairs: tuple[int, int]) -> list[set[str]]:
    """Return the groups as sets of images; a dot is an unknown hash."""
    frame = frame_of(lesions)
    values = [None if value == "." else value for value in hashes]
    found = group_images(frame, values, [Pair(*pair, 0.9) for pair in pairs])
    assert found.index.equals(frame.index)
    return [set(names) for _, names in frame["image_id"].groupby(found)]


def test_images_of_unknown_lesions_are_joined_by_pixels_and_near_duplicates():
    assert groups(".....", "xx...", (2, 3)) == [{"a", "b"}, {"c", "d"}, {"e"}]
    assert groups("....", "xx..", (1, 2), (3, 2)) == [{"a", "b", "c", "d"}]
    assert groups("...", "...") == [{"a"}, {"b"}, {"c"}]


def test_known_lesions_stay_apart_unless_an_image_of_none_joins_them():
    assert groups("1122", "x.x.", (1, 3)) == [{"a", "b"}, {"c", "d"}]
    assert groups("1122.", "x.x.x") == [{"a", "b", "c", "d", "e"}]
    assert groups("112.", "....", (3, 0)) == [{"a", "b", "d"}, {"c"}]


@pytest.mark.parametrize(
    ("lesions", "expected"),
    [
        ("112", "lesions"),
        ("...", "near-duplicates, as lesions are unknown"),
        ("1.1", "lesions where known, else near-duplicates"),
    ],
)
def test_the_grouping_is_said(lesions, expected):
    assert describe_grouping(frame_of(lesions)) == expected
