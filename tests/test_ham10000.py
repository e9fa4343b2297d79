import pandas as pd
from PIL import Image

from data.folders import find_masks
from data.ham10000 import subgroup_columns
from data.sources import read_dataset


def test_masks_are_found_by_the_id_of_their_image_and_are_not_images(write_ham10000):
    root = write_ham10000({"ISIC_0000001": "nv", "ISIC_0000002": "mel"})
    assert find_masks(root) == {}
    (root / "masks").mkdir()
    path = root / "masks" / "ISIC_0000002_segmentation.png"
    Image.new("L", (4, 3)).save(path)
    (root / "masks" / "ISIC_0000001_segmentation.txt").touch()
    assert find_masks(root) == {"ISIC_0000002": str(path)}
    # A table stands for its folder.
    assert find_masks(root / "HAM10000_metadata.csv") == find_masks(root)
    assert read_dataset(root).frame["path"].str.endswith(".jpg").tolist() == [True, True]


def test_ages_become_decades_and_missing_values_unknown():
    frame = pd.DataFrame({"age": [0.0, 39.0, 40.0, float("nan")], "sex": ["male", "", None, "x"]})
    columns = subgroup_columns(frame)
    assert columns["age"] == ["0 to 9", "30 to 39", "40 to 49", "unknown"]
    assert columns["sex"] == ["male", "unknown", "unknown", "x"]


def test_there_are_only_the_subgroups_that_the_metadata_have():
    assert subgroup_columns(pd.DataFrame({"label": ["nv"]})) == {}
    assert list(subgroup_columns(pd.DataFrame({"dx_type": ["histo"]}))) == ["dx_type"]
