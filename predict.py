"""Name the diagnosis of a lesion in a picture: python predict.py --image lesion.jpg"""

import contextlib
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import config
from config import PredictConfig
from data import DataError
from models import ModelError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from models.bundle import Description

NOTICE = "For research and teaching only: this is no medical advice."

_BAR_WIDTH = 30


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


def predict(settings: PredictConfig) -> int:
    """Find the images, load the model, show and write the diagnosis of each image."""
    from data.images import find_images

    paths = find_images(settings.image)

    from models.backend import start_tensorflow

    start_tensorflow()

    from data.pipeline import iterate_batches
    from metrics.report import PredictionWriter, prediction_table
    from models.bundle import get_description
    from models.inference import predict_probabilities
    from models.tflite import open_model

    model_path, origin = choose_model(settings.model_path)
    model = open_model(model_path)
    description = get_description(model)
    if settings.explain_class not in (None, *description.class_names):
        raise ModelError(
            f"--explain_class should be one of {', '.join(description.class_names)}, received "
            f"{settings.explain_class!r}"
        )
    explain = Explanations(model, settings, description) if settings.explain else None
    print(f"model: {origin}", flush=True)

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
            y_prob = predict_probabilities(model, images, tta=settings.tta)
            config.clear_count()
            for message in failures.values():
                print(f"left out: {message}", file=sys.stderr)
            names = [paths[place] for place in places]
            for name, row in zip(names, y_prob, strict=True):
                ranked = sorted(zip(row, description.class_names, strict=True), reverse=True)
                show = format_line if as_lines else format_bars
                print(show(name, ranked[: settings.top_k]))
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
                title=f"{Path(name).name}: {label} {row[place]:.1%}",
                empty=not seen.any(),
            )
            save_figure(figure, self.folder / self._free_name(f"{Path(name).stem}-{label}"))

    def _free_name(self, stem: str) -> str:
        """Return a file name not yet given in this call: folders may repeat names."""
        number, name = 1, f"{stem}.png"
        while name in self.taken:
            number += 1
            name = f"{stem}-{number}.png"
        self.taken.add(name)
        return name


def choose_model(model_path: str | None) -> tuple[Path, str]:
    """Return the model file to use, and how to name it: the one asked for, else the newest run's,
    else the one that comes with the project."""
    from models.bundle import newest_model

    if model_path is not None:
        return Path(model_path), model_path
    newest = newest_model(config.RUNS_DIR)
    if newest is not None:
        return newest, f"{newest} (the newest run)"
    shipped = Path(__file__).parent / config.PRETRAINED_MODEL
    return shipped, f"{config.PRETRAINED_MODEL} (the shipped one; {config.RUNS_DIR}/ has no run)"


def format_bars(image: str, ranked: list[tuple[float, str]]) -> str:
    """Lay out one picture's most probable classes with a bar each."""
    from data.ham10000 import DIAGNOSES

    names = [f"{DIAGNOSES.get(name, name)} ({name})" for _, name in ranked]
    width = max(len(name) for name in names)
    lines = [f"\n{image}"]
    for (share, _), name in zip(ranked, names, strict=True):
        lines.append(f"  {name:<{width}}  {share:6.1%}  {'█' * round(share * _BAR_WIDTH)}")
    return "\n".join(lines)


def format_line(image: str, ranked: list[tuple[float, str]]) -> str:
    """Lay out one picture's most probable classes as a line of a table."""
    shown = image if len(image) <= 40 else "…" + image[-39:]
    return f"{shown:<40}  " + "   ".join(f"{name:<5} {share:6.1%}" for share, name in ranked)


if __name__ == "__main__":
    config.run(main)
