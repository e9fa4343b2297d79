"""How well the bundled model's detector tells images that show no skin from unseen lesions.

The lesions are the test split of the bundled model, or the validation split of images that it was
trained on. The other images are crops of the photographs of scikit-learn, and plots, documents,
noise, plain colors and gradients from a seeded generator. "skin-like" is meant to be hard: brown
and pink blurred noise with a dark blot. For each kind: the ROC AUC of the detector's score, and the
fraction above its threshold. The ratio is the mean ROC AUC of all kinds but the hard one.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.machine import read_images, run_benchmark
from config import BUNDLED_MODEL
from data.decoders import open_image
from models import ModelError
from support.cli import naming_flag

SIZE = 450
BATCH_SIZE = 32
WORDS = ("the", "report", "of", "patient", "skin", "result", "method", "table", "and", "2026", "12")
HARD = "skin-like"


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "no_skin",
        __doc__,
        measure,
        argv,
        images=(60, "number of images of each kind"),
        seed=(1, "seed of the images", 0),
    )


def measure(options: argparse.Namespace) -> int:
    """Score lesions and other images, print the table; returns how many cannot be read."""
    frame = read_images(options.data_dir)

    from models.backend import start_tensorflow

    start_tensorflow()

    from sklearn.metrics import roc_auc_score

    from data.batches import iterate_batches
    from data.known import count_known
    from data.splits import select_split
    from models.classifier import load_classifier

    classifier = load_classifier(BUNDLED_MODEL)
    detector, image_size = classifier.detector, classifier.description.image_size
    if detector is None:
        raise ModelError(f"{BUNDLED_MODEL}: expected a model with a detector, found none")
    # Of its own data, the model has left nothing for a test.
    split = "test"
    with naming_flag("--data_dir"):
        if count_known(frame, classifier.description) == len(frame):
            split = "val"
        paths = select_split(frame, split, classifier.description)["path"].tolist()

    def score(batch: np.ndarray) -> np.ndarray:
        return detector.score(classifier.features(batch))

    lesions = []
    for _, batch, failures in iterate_batches(paths, image_size=image_size, batch_size=BATCH_SIZE):
        lesions.append(score(batch))
        for message in failures.values():
            print(f"skipped {message}", file=sys.stderr)
    lesions = np.concatenate(lesions)
    alarms = (lesions > detector.threshold).mean()
    print(f"threshold {detector.threshold:.3f}, from the validation split")
    print(f"{len(lesions):,} images of split {split}: {alarms:.1%} false alarms\n")
    print(f"{'images':<16}{'ROC AUC':>9}{'detected':>10}{'median score':>14}")
    areas = {}
    for kind in KINDS:
        images = make_images(kind, options.images, image_size=image_size, seed=options.seed)
        starts = range(0, len(images), BATCH_SIZE)
        scores = np.concatenate([score(images[start : start + BATCH_SIZE]) for start in starts])
        is_other = np.repeat([False, True], [len(lesions), len(scores)])
        areas[kind] = roc_auc_score(is_other, np.concatenate([lesions, scores]))
        detected = (scores > detector.threshold).mean()
        print(
            f"{kind:<16}{areas[kind]:>9.4f}{detected:>10.1%}{np.median(scores):>14.2f}", flush=True
        )
    print(f"ratio: {np.mean([area for kind, area in areas.items() if kind != HARD]):.4f}")
    return len(paths) - len(lesions)


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Crop a square of random size from a photograph of scikit-learn."""
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    image = images[rng.integers(len(images))]
    size = int(rng.integers(120, min(image.shape[:2]) + 1))
    top, left = (int(rng.integers(extent - size + 1)) for extent in image.shape[:2])
    return image[top : top + size, left : left + size]


def plot(rng: np.random.Generator) -> np.ndarray:
    """Plot lines, bars, points or a heat map, with axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), dpi=100)
    axes = figure.add_subplot()
    values = rng.normal(size=(3, 40)).cumsum(axis=1)
    kind = rng.integers(4)
    if kind == 0:
        axes.plot(values.T)
    elif kind == 1:
        axes.bar(range(8), np.abs(values[0, :8]), color=rng.random(3))
    elif kind == 2:
        axes.scatter(values[0], values[1], c=values[2])
    else:
        axes.imshow(values.T[:20], aspect="auto")
    axes.set_title("figure")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with open_image(buffer) as image:
        return np.asarray(image.convert("RGB"))


def document(rng: np.random.Generator) -> np.ndarray:
    """Draw words on white or yellowish paper."""
    paper = (255, 255, int(rng.integers(215, 256)))
    page = Image.new("RGB", (SIZE, SIZE), paper)
    draw = ImageDraw.Draw(page)
    size = int(rng.integers(12, 36))
    font = ImageFont.load_default(size)
    for top in range(10, SIZE, round(1.4 * size)):
        draw.text((10, top), " ".join(rng.choice(WORDS, 16)), fill=(20, 20, 30), font=font)
    return np.asarray(page)


def noise(rng: np.random.Generator) -> np.ndarray:
    """Draw gray or colored noise, fine or coarse."""
    size = SIZE // int(rng.choice((1, 2, 4, 16)))
    values = rng.random((size, size, int(rng.choice((1, 3)))))
    pixels = np.broadcast_to(values * 255, (size, size, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE)))


def plain_color(rng: np.random.Generator) -> np.ndarray:
    """Fill with one random color."""
    return np.full((SIZE, SIZE, 3), rng.integers(0, 256, 3), np.uint8)


def gradient(rng: np.random.Generator) -> np.ndarray:
    """Blend one color into another, in a random direction."""
    angle = rng.random() * 2 * np.pi
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    fraction = (np.cos(angle) * x + np.sin(angle) * y)[..., None] / 2.83 + 0.5
    first, last = rng.integers(0, 256, (2, 3))
    return (first + (last - first) * fraction).astype(np.uint8)


def skin_like(rng: np.random.Generator) -> np.ndarray:
    """Blur noise in a color of skin, with a darker blot in the middle."""
    light = np.array((225, 175, 155)) * rng.uniform(0.75, 1.05) + rng.normal(0, 8, 3)
    blurred = []
    for radius in (3, 40):
        gray = Image.fromarray(rng.integers(0, 256, (SIZE, SIZE), np.uint8))
        field = np.asarray(gray.filter(ImageFilter.GaussianBlur(radius)), np.float64)
        blurred.append((field - field.mean()) / field.std())
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    edge = np.hypot(x, y) - rng.uniform(0.3, 0.6) + 0.1 * blurred[1]
    blot = 1 / (1 + np.exp(edge * 25))[..., None]
    dark = light * (0.55, 0.42, 0.38)
    pixels = light + (dark - light) * blot + 6 * blurred[0][..., None]
    return pixels.clip(0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "photographs": photograph,
    "plots": plot,
    "documents": document,
    "noise": noise,
    "plain colors": plain_color,
    "gradients": gradient,
    HARD: skin_like,
}


def make_images(kind: str, count: int, *, image_size: int, seed: int) -> np.ndarray:
    """Generate images of a kind, cropped and scaled as all images are.

    Args:
        kind: a key of `KINDS`.
        count: number of images.
        image_size: side length of the result, pixels.
        seed: equal seeds give equal images.

    Returns:
        uint8 `[count, image_size, image_size, 3]`, 0..255.
    """
    from data.images import load_bytes

    images = []
    for i in range(count):
        rng = np.random.default_rng([seed, list(KINDS).index(kind), i])
        buffer = io.BytesIO()
        Image.fromarray(KINDS[kind](rng)).save(buffer, "PNG")
        images.append(load_bytes(buffer.getvalue(), image_size))
    return np.stack(images)


if __name__ == "__main__":
    sys.exit(main())
