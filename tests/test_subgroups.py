import pandas as pd

from data.subgroups import subgroup_columns


def test_ages_fall_into_decades_and_what_is_missing_is_unknown():
    frame = pd.DataFrame({"age": [0.0, 39.0, 40.0, float("nan")], "sex": ["male", "", None, "x"]})
    columns = subgroup_columns(frame)
    assert columns["age"] == ["0 to 9", "30 to 39", "40 to 49", "unknown"]
    assert columns["sex"] == ["male", "unknown", "unknown", "x"]


def test_only_what_the_metadata_have():
    assert subgroup_columns(pd.DataFrame({"label": ["nv"]})) == {}
    assert list(subgroup_columns(pd.DataFrame({"dx_type": ["histo"]}))) == ["dx_type"]
