"""Groups of patients and pictures that the metadata tell apart."""

import pandas as pd

# What columns and values are called in full; a value that is not here says itself what it is.
SUBGROUP_NAMES = {
    "age": "age, years",
    "localization": "body site",
    "dx_type": "how the diagnosis was confirmed",
    "histo": "histopathology",
    "follow_up": "follow-up",
    "consensus": "agreement of experts",
    "confocal": "confocal microscopy",
}


def subgroup_columns(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the group of each image in each respect that the metadata know.

    Args:
        frame: from `read_metadata`.

    Returns:
        By name, of `sex`, `age` (decades such as `30 to 39`), `localization` and `dx_type` those
        that the frame has: a value for each row, `unknown` where it is missing.
    """
    columns = {}
    for name in ("sex", "age", "localization", "dx_type"):
        if name not in frame:
            continue
        if name == "age":
            columns[name] = [_decade(age) for age in frame["age"]]
        else:
            columns[name] = frame[name].replace("", "unknown").fillna("unknown").tolist()
    return columns


def _decade(age: float) -> str:
    if pd.isna(age):
        return "unknown"
    first = int(age // 10 * 10)
    return f"{first} to {first + 9}"
