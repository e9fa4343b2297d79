"""Predict the diagnosis of a lesion in an image: python predict.py --image lesion.jpg"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from config import PredictConfig
from metrics import NOTICE
from models.description import SYNTHETIC_WARNING
from support import cli
from support.files import make_folder, one_line, safe_name
from support.terminal import Progress, red
from training.model_paths import choose_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from metrics.decision import OperatingPoint
    from metrics.prediction import Prediction
    from models.predictions import BaseClassifier, Predictions

PROGRAM = "predict.py"


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""

    def command() -> int:
        return predict(cli.parse(PredictConfig, argv, prog=PROGRAM, description=__doc__))

    return cli.run(PROGRAM, command, out_of_memory="out of memory; reduce --batch_size")


def predict(settings: PredictConfig) -> int:
    """Find the images, load the model, and show and write the prediction of each image."""
    from data.folders import find_images

    with cli.naming_flag("--image"):
        paths = find_images(settings.image)

    from data.batches import iterate_batches
    from data.class_names import class_titles
    from metrics.prediction import format_block, format_line, line_heading
    from models.ensemble import load_predictor
    from training.prediction import PredictionTable, choose_operating_point

    model_paths, origin = choose_models(settings.model_path)
    classifier = load_predictor(model_paths, engine=settings.engine)
    description = classifier.description
    titles = class_titles(description.class_names, description.class_titles)
    point = choose_operating_point(settings.operating_point, description)
    writer = None
    if settings.output:
        writer = PredictionTable(settings.output, settings.columns, description, paths, point)
    explanations = Explanations(classifier, settings) if settings.explain else None
    if description.synthetic:
        print(red(f"warning: {SYNTHETIC_WARNING}"))
    print(f"Model: {origin}, {description.origin}", flush=True)
    if settings.verbose:
        print(f"Engine: {classifier.engine}", flush=True)
    if classifier.missing_warnings:
        print(f"note: {classifier.missing_warnings}", file=sys.stderr)

    # Images that were named get a block of bars each; those of folders get one line each.
    as_lines = len(paths) > len(settings.image)
    if as_lines:
        print(f"\n{line_heading(description.malignant)}")
    progress = Progress("predicting")
    predicted = skipped = 0
    with writer or contextlib.nullcontext():
        for indices, images, failures in iterate_batches(
            paths, image_size=description.image_size, batch_size=settings.batch_size
        ):
            predictions = classifier(images, tta=settings.tta)
            names = [paths[i] for i in indices]
            progress.clear()
            for message in failures.values():
                print(f"skipped {message}", file=sys.stderr)
            for prediction in describe(classifier, names, predictions, point):
                if as_lines:
                    print(format_line(prediction, top_k=settings.top_k))
                else:
                    print("\n" + format_block(prediction, top_k=settings.top_k, titles=titles))
            if explanations:
                explanations.write(names, images, predictions)
            if writer:
                writer.add(names, predictions)
            predicted += len(names)
            skipped += len(failures)
            progress.update(predicted + skipped, len(paths))
    if predicted:
        print(f"\n{NOTICE} {description.melanoma_note} {description.calibration_note}")
    if explanations:
        print(f"\n{explanations.count} heat maps written to {settings.explain}")
    if writer:
        print(f"\n{predicted} predictions written to {settings.output}")
    return 1 if skipped else 0


def describe(
    classifier: BaseClassifier, names: list[str], batch: Predictions, point: OperatingPoint | None
) -> Iterator[Prediction]:
    """Yield what is shown of each prediction of a batch."""
    from metrics.prediction import Prediction, prediction_set_names

    description, class_names = classifier.description, classifier.description.class_names
    malignant = classifier.malignant_probability(batch)
    warnings, sets = classifier.warnings(batch), batch.prediction_set
    for i, name in enumerate(names):
        y_prob = dict(zip(class_names, batch.y_prob[i].tolist(), strict=True))
        likely = []
        if sets is not None:
            likely = prediction_set_names(batch.y_prob[i], sets[i], class_names)
        yield Prediction(
            image=one_line(name),
            y_prob=y_prob,
            malignant=description.malignant,
            malignant_probability=None if malignant is None else float(malignant[i]),
            warnings=warnings[i],
            prediction_set=likely,
            coverage=description.set_coverage,
            decision=point.decide(y_prob) if point else ("", ""),
        )


class Explanations:
    """Writes a PNG per image: the image beside the same image under its Grad-CAM heat map."""

    def __init__(self, classifier: BaseClassifier, settings: PredictConfig) -> None:
        self.classifier, self.folder = classifier, Path(settings.explain)
        self.class_index = None
        if settings.explain_class is not None:
            from data.classes import find_class_index

            with cli.naming_flag("--explain_class"):
                self.class_index = find_class_index(settings.explain_class, classifier.description)
        with cli.naming_flag("--explain"):
            make_folder(self.folder)
        self._taken: set[str] = set()

    @property
    def count(self) -> int:
        """Number of files written."""
        return len(self._taken)

    def write(self, names: list[str], images: np.ndarray, predictions: Predictions) -> None:
        """Explain a batch."""
        import numpy as np

        from data.class_names import class_titles
        from metrics.explanation import plot_explanation
        from metrics.numbers import format_percent
        from metrics.png import save_figure
        from metrics.prediction import class_label
        from models.heat_map import overlay

        class_indices = predictions.class_indices
        if self.class_index is not None:
            class_indices = np.full(len(names), self.class_index)
        heat_maps = self.classifier.explain(images, class_indices)
        warnings, description = self.classifier.warnings(predictions), self.classifier.description
        titles = class_titles(description.class_names, description.class_titles)
        for i, (name, class_index) in enumerate(zip(names, class_indices, strict=True)):
            label = description.class_names[class_index]
            probability = format_percent(predictions.y_prob[i, class_index])
            figure = plot_explanation(
                images[i],
                overlay(images[i], heat_maps[i]),
                title=f"{Path(name).name}: model's probability of {class_label(label, titles)} "
                f"{probability}",
                warnings=list(warnings[i].values()),
                empty=not heat_maps[i].any(),
            )
            save_figure(figure, self.folder / self._free_name(Path(name).stem, label))

    def _free_name(self, stem: str, label: str) -> str:
        """Return a file name that is still free: several folders may hold the same names."""
        stem = f"{safe_name(stem, max_bytes=150)}-{safe_name(label, max_bytes=80)}"
        number, name = 1, f"{stem}.png"
        # Many file systems take upper and lower case for the same.
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(name.casefold())
        return name


if __name__ == "__main__":
    sys.exit(main())
