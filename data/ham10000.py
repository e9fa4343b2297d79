"""What HAM10000 is: its classes, and the subgroups in its metadata.

Tschandl, Rosendahl, Kittler: The HAM10000 dataset. Scientific Data 5, 180161 (2018),
doi:10.1038/sdata.2018.161.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DIAGNOSES = {
    "akiec": "actinic keratosis or Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
CLASS_NAMES = tuple(DIAGNOSES)
# Bowen's disease is a carcinoma in situ, actinic keratosis its precursor: both are treated.
MALIGNANT = ("akiec", "bcc", "mel")
# How the ids of generated lesions begin, see `data.sample`; those of HAM10000 begin with HAM_0.
SYNTHETIC_LESIONS = "HAM_9"

# Display names of subgroup columns and of their values; any other value is shown as it is.
SUBGROUP_NAMES = {
    "sex": "Sex",
    "age": "Age (years)",
    "localization": "Body site",
    "dx_type": "Diagnostic confirmation",
    "histo": "histopathology",
    "follow_up": "follow-up",
    "consensus": "expert consensus",
    "confocal": "confocal microscopy",
}

# What the tables of HAM10000, and those of the ISIC archive, call it.
_HISTOLOGY = ("histo", "histopathology")


def subgroup_columns(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the subgroup of each image by sex, age, body site and type of confirmation.

    Args:
        frame: of a `data.sources.Dataset`.

    Returns:
        Those of `sex`, `age` (decades such as `30 to 39`), `localization` and `dx_type` that the
        frame has: one value per row, `unknown` where it is missing.
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


def confirmed_by_histology(frame: pd.DataFrame) -> list[bool]:
    """Tell which diagnoses histopathology confirmed.

    Args:
        frame: of a `data.sources.Dataset`.

    Returns:
        One value per row; empty if the frame does not say how they were confirmed.
    """
    return frame["dx_type"].isin(_HISTOLOGY).tolist() if "dx_type" in frame else []


def _decade(age: float) -> str:
    if math.isnan(age):
        return "unknown"
    first = int(age // 10 * 10)
    return f"{first} to {first + 9}"
