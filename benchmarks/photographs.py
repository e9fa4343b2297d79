"""How many photographs without a dermatoscope the detector of photographs flags.

Fits the detector, `models/photographs.py`, to dermatoscopic images and to photographs of lesions,
and measures it on others: the validation images of `--data_dir`, whose split is that of `train.py`
and whose test images are not used, half of the lesions of each other folder of dermatoscopic
images, and a third of the patients of the photographs. The threshold is the score that 99 % of the
validation images stay below. With `--output`, the detector that was measured is written as the
.tflite file. The ratio is the fraction of photographs that is flagged over the fraction of
dermatoscopic images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import RECIPE, decode, describe_sizes, run_benchmark
from support import InputError
from support.cli import naming_flag
from support.files import make_folder, replacing
from support.terminal import Progress
from training.settings import build_train_config

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd
    import tensorflow as tf

    from data.augmentation import Augmentation

# Of MobileNetV2; their means and standard deviations over the image are the features.
LAYERS = (
    *("block_1_project_BN", "block_3_project_BN", "block_5_add", "block_6_expand_relu"),
    "block_9_add",
)
# Side length at which the images are decoded, the input of the bundled models, pixels.
DECODED_SIZE = 192
# Augmented copies of each image, in addition to the image as it is.
COPIES = 2
# The images that are augmented are larger than the input by this factor, so that crops stay sharp.
STORED_SIZE_FACTOR = 1.5
# Inverse strength of the regularization, for images whose weights sum to 1. Weaker regularization
# flags a few more photographs, and more images of other dermatoscopes than those of the fit.
C = 20.0
HELD_OUT_LESIONS, HELD_OUT_PATIENTS = 1 / 2, 1 / 3
BATCH_SIZE = 64
DERMATOSCOPIC, PHOTOGRAPHS = "dermatoscopic", "photographs"


@dataclass(frozen=True)
class Source:
    """The images of a folder.

    Attributes:
        name: of the folder.
        kind: `DERMATOSCOPIC` or `PHOTOGRAPHS`.
        frame: one row per image, with `path`, `label`, `lesion_id` and `split`: `train` to fit the
            detector, `val` to measure it.
    """

    name: str
    kind: str
    frame: pd.DataFrame

    def select(self, split: str) -> pd.DataFrame:
        """Return the rows of a split."""
        return self.frame[self.frame["split"] == split]

    def paths(self, split: str) -> list[str]:
        """Return the image files of a split."""
        return self.select(split)["path"].tolist()


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "photographs",
        __doc__,
        measure,
        argv,
        other_data_dir=((), "more folders of dermatoscopic images"),
        photographs_dir=("datasets/PAD-UFES-20", "folder of photographs and their labels"),
        output=("", "file for the detector, such as models/pretrained/photographs.tflite"),
    )


def measure(options: argparse.Namespace) -> None:
    """Fit the detector, print what it flags of the held-out images, and write it."""
    output = Path(options.output) if options.output else None
    if output and output.suffix != ".tflite":
        raise InputError(f"--output: expected a name ending in .tflite, received {str(output)!r}")

    from models.backend import start_tensorflow

    start_tensorflow()

    import numpy as np

    from models.photographs import PhotographDetector

    sources = read_sources(options)
    for source in sources:
        sizes = {split: len(source.select(split)) for split in ("train", "val")}
        print(f"{source.name}, {source.kind}: {sizes['train']:,} to fit, {sizes['val']:,} held out")
        print(f"  pixels of their files: {describe_sizes(source.frame)}", flush=True)
    stem = build_stem()
    features = extract_all(stem, sources)
    held_out = [decode(source.paths("val"), DECODED_SIZE) for source in sources]
    content = fit_file(stem, features, sources, held_out[0])
    flags = [PhotographDetector(content).score(images) > 0 for images in held_out]
    print_table(sources, flags)
    for i in range(1, len(sources) - 1):
        rest = [j for j in range(len(sources)) if j != i]
        without = fit_file(
            stem, [features[j] for j in rest], [sources[j] for j in rest], held_out[0]
        )
        found = PhotographDetector(without).score(held_out[i]) > 0
        print_row(f"{sources[i].name}, if none is in the fit", found)
    if output:
        with naming_flag("--output"):
            make_folder(output.parent)
        with replacing(output) as temporary:
            temporary.write_bytes(content)
        print(f"\n{output}: {len(content):,} bytes")
    rates = {
        kind: np.concatenate(
            [found for source, found in zip(sources, flags, strict=True) if source.kind == kind]
        ).mean()
        for kind in (PHOTOGRAPHS, DERMATOSCOPIC)
    }
    print(f"ratio: {rates[PHOTOGRAPHS] / rates[DERMATOSCOPIC]:.1f}")


def read_sources(options: argparse.Namespace) -> list[Source]:
    """Read and split all data sets, that of the threshold first and the photographs last."""
    from data.provenance import name_folder
    from training.dataset import read_labeled_images

    settings = build_train_config({"data_dir": options.data_dir})
    frame = read_labeled_images(settings).frame
    sources = [Source(name_folder(options.data_dir), DERMATOSCOPIC, frame)]
    for folder in options.other_data_dir:
        with naming_flag("--other_data_dir"):
            frame = read_split(folder, HELD_OUT_LESIONS)
        sources.append(Source(name_folder(folder), DERMATOSCOPIC, frame))
    with naming_flag("--photographs_dir"):
        frame = read_split(options.photographs_dir, HELD_OUT_PATIENTS)
    return [*sources, Source(name_folder(options.photographs_dir), PHOTOGRAPHS, frame)]


def read_split(data_dir: str, fraction: float) -> pd.DataFrame:
    """Read a data set, whatever its classes, and hold out a fraction of its lesions or patients."""
    from data.sources import drop_missing, read_dataset
    from data.splits import join_lesions, split_by_lesion

    frame, _ = drop_missing(read_dataset(data_dir, None).frame, data_dir)
    frame["group"] = join_lesions(frame)
    frame["split"] = split_by_lesion(
        frame, seed=RECIPE.seed, validation_fraction=fraction, test_fraction=0
    )
    return frame


def build_stem() -> keras.Model:
    """Return the first layers of MobileNetV2: pixels 0..255 to the outputs of `LAYERS`."""
    import keras

    from models.backbones import BACKBONES
    from models.factory import build_model
    from models.photographs import SIDE_LENGTH
    from models.transfer import BACKBONE

    entry, shape = BACKBONES["mobilenet"], (SIDE_LENGTH, SIDE_LENGTH, 3)
    model = build_model(
        "mobilenet", image_size=SIDE_LENGTH, class_names=("a", "b"), weights="imagenet"
    )
    backbone = model.get_layer(BACKBONE)
    outputs = [backbone.get_layer(name).output for name in LAYERS]
    inputs = keras.Input(shape)
    scaled = keras.layers.Rescaling(entry.scale, offset=entry.offset)(inputs)
    return keras.Model(inputs, keras.Model(backbone.inputs, outputs)(scaled))


def pool(outputs: list[tf.Tensor]) -> tf.Tensor:
    """Return mean and standard deviation of each channel over the image, `[images, features]`."""
    import tensorflow as tf

    features = []
    for output in outputs:
        mean, variance = tf.nn.moments(output, (1, 2))
        features += [mean, tf.sqrt(variance)]
    return tf.concat(features, axis=1)


def extract_all(stem: keras.Model, sources: list[Source]) -> list[np.ndarray]:
    """Return the features of each source; see `extract`."""
    from data.augmentation import AugmentationSettings, build_augmentation
    from models.photographs import SIDE_LENGTH

    # Views, colors and sharpness vary, so that resolution, compression and light say less.
    settings = AugmentationSettings(
        rotation_degrees=180,
        flip=True,
        view=(0.6, 1.1),
        shift=0.08,
        brightness=0.1,
        contrast=0.2,
        color_cast=0.12,
        sharpness=1.0,
    )
    augment = build_augmentation(settings, SIDE_LENGTH)
    return [extract(stem, augment, source) for source in sources]


def extract(stem: keras.Model, augment: Augmentation, source: Source) -> np.ndarray:
    """Return the features of the images to fit the detector, and of augmented copies.

    Returns:
        float32 `[images * (1 + COPIES), features]`.
    """
    import numpy as np
    import tensorflow as tf

    from models.photographs import SIDE_LENGTH, scale_images

    images = decode(source.paths("train"), DECODED_SIZE)
    compute: Callable = tf.function(lambda pixels: pool(stem(pixels, training=False)))
    progress = Progress(source.name)
    features = []
    for step, start in enumerate(range(0, len(images), BATCH_SIZE)):
        batch = images[start : start + BATCH_SIZE]
        features.append(compute(tf.cast(scale_images(batch, SIDE_LENGTH), tf.float32)))
        stored = tf.constant(scale_images(batch, round(STORED_SIZE_FACTOR * SIDE_LENGTH)))
        for copy in range(COPIES):
            features.append(compute(augment(stored, seed=RECIPE.seed + copy, step=step)))
        progress.update(start + len(batch), len(images))
    return np.concatenate(features)


def fit(parts: list[np.ndarray], sources: list[Source]) -> tuple[np.ndarray, float]:
    """Fit a logistic regression.

    Args:
        parts: by source, float `[images, features]`.
        sources: of both kinds.

    Returns:
        The weights of the features and the constant; above 0 for photographs.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate(parts)
    is_photograph = np.array([source.kind == PHOTOGRAPHS for source in sources])
    # Both kinds count the same, and so do all sources of a kind.
    weights = np.where(is_photograph, 1 / is_photograph.sum(), 1 / (~is_photograph).sum()) / 2
    counts = [len(part) for part in parts]
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=C, max_iter=1000).fit(
        scaler.transform(features),
        np.repeat(is_photograph, counts),
        sample_weight=np.repeat(weights / counts, counts),
    )
    kernel = model.coef_[0] / scaler.scale_
    return kernel, float(model.intercept_[0] - kernel @ scaler.mean_)


def fit_file(
    stem: keras.Model, parts: list[np.ndarray], sources: list[Source], images: np.ndarray
) -> bytes:
    """Fit the detector; returns the content of its file, with the threshold at 0.

    Args:
        stem: from `build_stem`.
        parts: as for `fit`.
        sources: as for `fit`.
        images: dermatoscopic images, almost all of which are below the threshold.
    """
    import numpy as np

    from models.photographs import PhotographDetector

    kernel, bias = fit(parts, sources)
    scores = PhotographDetector(convert(stem, kernel, bias)).score(images)
    return convert(stem, kernel, bias - np.quantile(scores, RECIPE.in_distribution_fraction))


def convert(stem: keras.Model, kernel: np.ndarray, bias: float) -> bytes:
    """Return the content of the .tflite file, with weights in float16."""
    import numpy as np

    from models.tflite_conversion import to_flatbuffer

    columns = np.asarray(kernel, np.float32)[:, None]

    def score(pixels: tf.Tensor, training: bool) -> tf.Tensor:
        return pool(stem(pixels, training=training)) @ columns + np.float32(bias)

    return to_flatbuffer(score, stem.input_shape[1], "float16")


def print_table(sources: list[Source], flags: list[np.ndarray]) -> None:
    """Print a row for each source, with an interval over its lesions, and for each class."""
    from metrics.intervals import confidence_intervals

    print(f"\n{'held-out images':<34}{'images':>8}{'flagged':>9}{'95 % CI':>18}")
    for source, found in zip(sources, flags, strict=True):
        frame = source.select("val")

        def flagged(weights: np.ndarray, found: np.ndarray = found) -> dict[str, np.ndarray]:
            return {"flagged": weights @ found / weights.sum(axis=1)}

        low, high = confidence_intervals(flagged, frame["group"].tolist())["flagged"]
        interval = f"{low:.1%} to {high:.1%}"
        print_row(f"{source.name}, {source.kind}", found, interval)
        for label in sorted(set(frame["label"])):
            print_row(f"  {label}", found[(frame["label"] == label).to_numpy()])


def print_row(name: str, flags: np.ndarray, interval: str = "") -> None:
    """Print how many of some images are flagged."""
    print(f"{name:<34}{len(flags):>8,}{flags.mean():>9.1%}{interval:>18}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
