"""Name the diagnosis of a lesion in a picture: python predict.py --image lesion.jpg"""

import contextlib
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import config
from config import PredictConfig
from data import DataError, one_line
from models import ModelError, is_out_of_memory

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.bundle import Description

NOTICE = "For research and teaching only: this is no medical advice."

_BAR_WIDTH = 30
_DOUBTS = {"unlike": "no dermatoscopic picture?", "unsure": "unsure"}


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    parser = config.ArgumentParser(prog="predict.py", description=__doc__)
    config.add_arguments(parser, PredictConfig)
    args = parser.parse_args(argv)
    try:
        settings = config.from_args(PredictConfig, args)
    except ValueError as error:
        parser.error(str(error))
    warnings.showwarning = config.show_warning
    try:
        return predict(settings)
    except (DataError, ModelError, OSError) as error:
        print(f"predict.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\npredict.py: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print("predict.py: error: out of memory: lower --batch_size", file=sys.stderr)
        return 2


def predict(settings: PredictConfig) -> int:
    """Find the images, load the model, show and write the diagnosis of each image."""
    import numpy as np

    from data.images import find_images

    paths = find_images(settings.image)

    from models.backend import start_tensorflow

    start_tensorflow()

    from data.pipeline import iterate_batches
    from metrics.report import PredictionWriter, prediction_table
    from models.bundle import choose_model, get_description
    from models.inference import FeatureReader, predict_probabilities
    from models.novelty import list_warnings, missing_warnings, read_detector
    from models.tflite import TFLiteModel, open_model

    model_path, origin = choose_model(
        settings.model_path,
        runs_dir=config.RUNS_DIR,
        shipped=config.PRETRAINED_MODEL,
        root=Path(__file__).parent,
    )
    model = open_model(model_path)
    description = get_description(model)
    # A phone model gives no features, and has no detector that would need them.
    read = None if isinstance(model, TFLiteModel) else FeatureReader(model)
    detector = read_detector(description.detector, features=read.count) if read else None
    if settings.explain_class not in (None, *description.class_names):
        raise ModelError(
            f"--explain_class should be one of {', '.join(description.class_names)}, received "
            f"{settings.explain_class!r}"
        )
    explain = Explanations(model, settings, description) if settings.explain else None
    print(f"model: {origin}", flush=True)
    if note := missing_warnings(unsure_below=description.unsure_below, detector=detector):
        print(f"note: {note}", file=sys.stderr)

    # A few pictures get a block of bars each, whole folders a line for each picture.
    as_lines = len(paths) > len(settings.image)
    if as_lines:
        print(f"\n{'image':<40}  most probable")
    batches = iterate_batches(
        paths, image_size=description.image_size, batch_size=settings.batch_size
    )
    writer = PredictionWriter(settings.output) if settings.output else None
    done = unreadable = 0
    with writer or contextlib.nullcontext():
        for places, images, failures in batches:
            if read:
                y_prob, features = read(images, tta=settings.tta)
            else:
                y_prob = predict_probabilities(model, images, tta=settings.tta)
            scores = detector.score(features) if detector else np.zeros(len(images))
            config.clear_count()
            for message in failures.values():
                print(f"left out: {message}", file=sys.stderr)
            names = [paths[place] for place in places]
            for name, row, score in zip(names, y_prob, scores, strict=True):
                ranked = sorted(zip(row, description.class_names, strict=True), reverse=True)
                doubts = list_warnings(
                    float(row.max()),
                    float(score),
                    unsure_below=description.unsure_below,
                    unsure_accuracy=description.unsure_accuracy,
                    detector=detector,
                )
                show = format_line if as_lines else format_bars
                print(show(one_line(name), ranked[: settings.top_k], doubts))
            if explain:
                explain.write(names, images, y_prob)
            if writer:
                writer.write(prediction_table(names, y_prob, description.class_names))
            done += len(places)
            unreadable += len(failures)
            config.show_count("predicting", done + unreadable, len(paths))
    if explain:
        noun = "explanation" if explain.written == 1 else "explanations"
        print(f"\n{explain.written} {noun} written to {settings.explain}")
    if writer:
        print(f"\n{done} predictions written to {settings.output}")
    print(f"\n{NOTICE}")
    return 1 if unreadable else 0


class Explanations:
    """Writes a PNG for each image: the picture, and where the model looked."""

    def __init__(
        self, model: "keras.Model", settings: PredictConfig, description: "Description"
    ) -> None:
        from models.grad_cam import Explainer

        self.explain = Explainer(model)
        self.class_names = description.class_names
        self.chosen = settings.explain_class
        self.folder = Path(settings.explain)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.taken: set[str] = set()

    @property
    def written(self) -> int:
        """How many there are."""
        return len(self.taken)

    def write(self, names: list[str], images: "np.ndarray", y_prob: "np.ndarray") -> None:
        """Explain a batch."""
        if not names:
            return

        import numpy as np

        from metrics.plots import plot_explanation
        from metrics.report import save_figure
        from models.grad_cam import overlay

        places = y_prob.argmax(axis=1)
        if self.chosen:
            places = np.full(len(names), self.class_names.index(self.chosen))
        heat = self.explain(images, places)
        for name, image, seen, place, row in zip(names, images, heat, places, y_prob, strict=True):
            label = self.class_names[place]
            figure = plot_explanation(
                image,
                overlay(image, seen),
                title=f"{one_line(Path(name).name)}: {label} {row[place]:.1%}",
                empty=not seen.any(),
            )
            save_figure(figure, self.folder / self._free_name(Path(name).stem, label))

    def _free_name(self, stem: str, label: str) -> str:
        """Return a file name not yet given in this call: folders may repeat names."""
        # With what is added it may have 255 bytes.
        stem = f"{os.fsdecode(os.fsencode(stem)[:200])}-{label}"
        number, name = 1, f"{stem}.png"
        while name in self.taken:
            number += 1
            name = f"{stem}-{number}.png"
        self.taken.add(name)
        return name


def format_bars(image: str, ranked: list[tuple[float, str]], doubts: dict[str, str]) -> str:
    """Lay out one picture's most probable classes with a bar each, and the warnings."""
    from data.ham10000 import DIAGNOSES

    names = [f"{DIAGNOSES.get(name, name)} ({name})" for _, name in ranked]
    width = max(len(name) for name in names)
    lines = [f"\n{image}"]
    for (share, _), name in zip(ranked, names, strict=True):
        lines.append(f"  {name:<{width}}  {share:6.1%}  {'█' * round(share * _BAR_WIDTH)}")
    lines += [f"  warning: {text}" for text in doubts.values()]
    return "\n".join(lines)


def format_line(image: str, ranked: list[tuple[float, str]], doubts: dict[str, str]) -> str:
    """Lay out one picture's most probable classes as a line of a table, warnings as a word."""
    shown = image if len(image) <= 40 else "…" + image[-39:]
    cells = [f"{name:<5} {share:6.1%}" for share, name in ranked]
    cells += [_DOUBTS[kind] for kind in doubts]
    return f"{shown:<40}  " + "   ".join(cells)


if __name__ == "__main__":
    config.run(main)
