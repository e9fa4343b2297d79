"""What a worker of Ray Data does: predict parts, with a model that it has loaded once."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cluster.parts import join_skipped, write_part
from cluster.place import Place
from cluster.settings import ClusterPredictConfig
from models.checksums import file_checksum
from support import InputError
from support.cli import is_out_of_memory
from support.files import describe_os_error

if TYPE_CHECKING:
    from metrics.decision import OperatingPoint
    from models.predictions import BaseClassifier

OUT_OF_MEMORY = "out of memory; reduce --batch_size, or raise --cpus_per_worker"


class Worker:
    """Predicts parts, with a model that is loaded once.

    What is wrong with model or memory is returned, not raised: Ray would show a traceback for each
    worker, and load the model again.

    Args:
        settings: of the command.
        models: path and checksum of each file.
        place: where it runs.
    """

    def __init__(
        self, settings: ClusterPredictConfig, models: list[tuple[str, str]], place: Place
    ) -> None:
        self.settings, self.models, self.place = settings, models, place

    def __call__(self, row: dict) -> dict:
        """Predict a part and write its file.

        Args:
            row: `paths` of the images, and the `file` to write.

        Returns:
            `images`, their number, and `error`, why they are not predicted, else empty.
        """
        try:
            self._predict(list(row["paths"]), Path(row["file"]))
        except InputError as error:
            message = str(error)
        except OSError as error:
            message = describe_os_error(error)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = OUT_OF_MEMORY
        else:
            return {"images": len(row["paths"]), "error": ""}
        return {"images": 0, "error": message}

    @functools.cached_property
    def _predictor(self) -> tuple[BaseClassifier, OperatingPoint | None]:
        """The model, and the operating point that was chosen."""
        self.place.enter()
        self.place.share.prepare(os.environ)
        from models.ensemble import load_predictor
        from training.prediction import choose_operating_point

        classifier = load_predictor([path for path, _ in self.models], engine="auto")
        for path, checksum in self.models:
            if file_checksum(Path(path)) != checksum:
                raise InputError(f"{path}: the file changed while it was in use; start again")
        point = choose_operating_point(self.settings.operating_point, classifier.description)
        return classifier, point

    def _predict(self, paths: list[str], path: Path) -> None:
        classifier, point = self._predictor
        from data.batches import iterate_batches
        from training.prediction import build_table

        description, tables, failures = classifier.description, [], {}
        for indices, images, failed in iterate_batches(
            paths, image_size=description.image_size, batch_size=self.settings.batch_size
        ):
            predictions = classifier(images, tta=self.settings.tta)
            names = [paths[i] for i in indices]
            tables.append(build_table(names, predictions, description.class_names, point))
            failures |= failed
        # The columns of an empty table have no types, which the others would lose.
        filled = [table for table in tables if len(table)] or tables[:1]
        table = join_skipped(pd.concat(filled, ignore_index=True), paths, failures)
        write_part(table, path)
