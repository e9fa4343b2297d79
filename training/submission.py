"""The table of predictions for a challenge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import DataError
from data.classes import scheme_of_model
from data.image_matches import stem_of_id
from metrics.prediction_table import PredictionWriter
from models.description import Description
from support.cli import naming_flag
from support.files import count_noun, list_names, one_line

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
_FILE = "submission.csv"


class Submission:
    """Builds the table that the ISIC 2018 challenge, Task 3, takes.

    It has one row per image: `image`, and a probability in each of `COLUMNS`. See
    https://challenge.isic-archive.com/landing/2018/47/.

    Args:
        description: of the model.
        images: names or paths of all images.

    Attributes:
        decimals: of the probabilities. The challenge takes an image with two highest ones as
            predicted wrongly, and six decimals would make some equal; these keep any two float32
            above 1/8 apart, and the highest of seven is above that.

    Raises:
        DataError: the model has other classes, or two images have one name.
    """

    decimals = 9

    def __init__(self, description: Description, images: Sequence[str]) -> None:
        scheme, names = scheme_of_model(description), description.class_names
        found = [scheme.find(column) for column in COLUMNS]
        if None in found or set(found) != set(names) or len(names) != len(COLUMNS):
            raise DataError(
                f"expected a model of the classes {', '.join(COLUMNS)} of the challenge, received "
                f"one of {list_names(names, 10)}; use a model of these seven"
            )
        self._indices = [names.index(name) for name in found]
        counts = Counter(map(stem_of_id, images))
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise DataError(
                "expected images of different names, without their folders and endings, received "
                f"{count_noun(counts[repeated[0]], 'image')} {one_line(repeated[0])!r} "
                f"({count_noun(len(repeated), 'such name')} in total); rename one, or give fewer "
                "folders"
            )

    def table(self, images: Sequence[str], y_prob: np.ndarray) -> pd.DataFrame:
        """Build the rows of some images.

        Args:
            images: their names or paths.
            y_prob: float `[images, classes]`, in the order of the model.
        """
        # Imported here because predictions without a table do not need pandas.
        import pandas as pd

        # The sum of a softmax may be a little above 1, which the challenge would refuse.
        values = np.clip(y_prob[:, self._indices].astype(np.float64), 0.0, 1.0)
        table = pd.DataFrame(values, columns=COLUMNS)
        table.insert(0, "image", [stem_of_id(name) for name in images])
        return table

    def write(self, folder: Path, images: Sequence[str], y_prob: np.ndarray) -> Path:
        """Write the table of all images into a folder, and return its file.

        Args:
            folder: an existing one.
            images: as for `table`.
            y_prob: as for `table`.
        """
        path = folder / _FILE
        with PredictionWriter(path, decimals=self.decimals) as writer:
            writer.write(self.table(images, y_prob))
        return path


def choose_submission(
    columns: str | None, description: Description, images: Sequence[str]
) -> Submission | None:
    """Return the table of the challenge that `--columns` names; None for no challenge.

    Raises:
        DataError: as for `Submission`.
    """
    if columns is None:
        return None
    with naming_flag("--columns"):
        return Submission(description, images)
