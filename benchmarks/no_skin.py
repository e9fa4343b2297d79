"""How well the model's detector tells pictures that are no skin from lesions it has never seen.

Lesions are the test split of the model that comes with the project; the others are photographs of
scikit-learn, and plots, documents, noise, plain colours and gradients made here by a seeded
generator. "skin-like" is meant to be hard: brown and pink blurred noise with a dark blot. For each
kind: the ROC AUC of the detector's score, and the share that the threshold catches. The ratio is
the ROC AUC against all kinds but the hard one, each kind counting alike.
"""

import io
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import config
from benchmarks.machine import parse_arguments
from models.backend import start_tensorflow

SIDE = 450
WORDS = ("the", "report", "of", "patient", "skin", "result", "method", "table", "and", "2026", "12")
HARD = "skin-like"


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Cut a square of any size out of a photograph of scikit-learn."""
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    image = images[rng.integers(len(images))]
    side = int(rng.integers(120, min(image.shape[:2]) + 1))
    top, left = (int(rng.integers(extent - side + 1)) for extent in image.shape[:2])
    return image[top : top + side, left : left + side]


def plot(rng: np.random.Generator) -> np.ndarray:
    """Draw lines, bars, points or a map with axes."""
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
    return np.asarray(Image.open(buffer).convert("RGB"))


def document(rng: np.random.Generator) -> np.ndarray:
    """Print words on white or yellowish paper."""
    paper = (255, 255, int(rng.integers(215, 256)))
    page = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(page)
    size = int(rng.integers(12, 36))
    font = ImageFont.load_default(size)
    for top in range(10, SIDE, round(1.4 * size)):
        draw.text((10, top), " ".join(rng.choice(WORDS, 16)), fill=(20, 20, 30), font=font)
    return np.asarray(page)


def noise(rng: np.random.Generator) -> np.ndarray:
    """Draw grey or coloured noise, fine or coarse."""
    side = SIDE // int(rng.choice((1, 2, 4, 16)))
    values = rng.random((side, side, int(rng.choice((1, 3)))))
    pixels = np.broadcast_to(values * 255, (side, side, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE)))


def plain_colour(rng: np.random.Generator) -> np.ndarray:
    """Fill with one colour of any kind."""
    return np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)


def gradient(rng: np.random.Generator) -> np.ndarray:
    """Blend from one colour to another, in any direction."""
    angle = rng.random() * 2 * np.pi
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    share = (np.cos(angle) * x + np.sin(angle) * y)[..., None] / 2.83 + 0.5
    first, last = rng.integers(0, 256, (2, 3))
    return (first + (last - first) * share).astype(np.uint8)


def skin_like(rng: np.random.Generator) -> np.ndarray:
    """Blur noise in a colour of skin, with a darker blot in the middle."""
    light = np.array((225, 175, 155)) * rng.uniform(0.75, 1.05) + rng.normal(0, 8, 3)
    blurred = []
    for radius in (3, 40):
        grey = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), np.uint8))
        field = np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float64)
        blurred.append((field - field.mean()) / field.std())
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
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
    "plain colours": plain_colour,
    "gradients": gradient,
    HARD: skin_like,
}


def make_pictures(kind: str, count: int, *, image_size: int, seed: int) -> np.ndarray:
    """Make pictures of a kind, cut and scaled as every picture is.

    Args:
        kind: a key of `KINDS`.
        count: how many.
        image_size: side of the result, pixels.
        seed: equal seeds give equal pictures.

    Returns:
        uint8 `[count, image_size, image_size, 3]`.
    """
    from data.images import decode_image

    pictures = []
    for number in range(count):
        rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
        buffer = io.BytesIO()
        Image.fromarray(KINDS[kind](rng)).save(buffer, "PNG")
        pictures.append(decode_image(buffer, image_size))
    return np.stack(pictures)


def main() -> int:
    """Score lesions and other pictures, and print the table."""
    args = parse_arguments(
        __doc__, images=(60, "pictures of each kind"), seed=(1, "of the pictures")
    )
    start_tensorflow()

    from sklearn.metrics import roc_auc_score

    from data.ham10000 import read_metadata, select_split
    from data.pipeline import iterate_batches
    from models.bundle import get_description, load_model
    from models.inference import FeatureReader
    from models.novelty import read_detector

    model = load_model(config.PRETRAINED_MODEL)
    description = get_description(model)
    read = FeatureReader(model)
    detector = read_detector(description.detector, features=read.count)
    if detector is None:
        print(f"{config.PRETRAINED_MODEL} has no detector; train.py writes one", file=sys.stderr)
        return 2
    frame = select_split(
        read_metadata(args.data_dir).dropna(subset="path"),
        "test",
        train_image_ids=description.train_image_ids,
        train_lesion_ids=description.train_lesion_ids,
        validation_image_ids=description.validation_image_ids,
        validation_lesion_ids=description.validation_lesion_ids,
    )
    side, size = description.image_size, 32
    lesions = np.concatenate(
        [
            detector.score(read(images)[1])
            for _, images, _ in iterate_batches(
                frame["path"].tolist(), image_size=side, batch_size=size
            )
        ]
    )
    alarms = float((lesions > detector.threshold).mean())
    print(f"threshold {detector.threshold:.3f}, from the validation split")
    print(f"{len(lesions):,} lesions of the test split: {alarms:.1%} false alarms\n")
    print(f"{'':<16}{'ROC AUC':>9}{'caught':>9}{'median score':>15}")
    areas = {}
    for kind in KINDS:
        pictures = make_pictures(kind, args.images, image_size=side, seed=args.seed)
        batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        scores = np.concatenate([detector.score(read(batch)[1]) for batch in batches])
        is_other = np.repeat([False, True], [len(lesions), len(scores)])
        areas[kind] = roc_auc_score(is_other, np.concatenate([lesions, scores]))
        caught = (scores > detector.threshold).mean()
        print(f"{kind:<16}{areas[kind]:>9.4f}{caught:>9.1%}{np.median(scores):>15.2f}", flush=True)
    print(f"ratio: {np.mean([area for kind, area in areas.items() if kind != HARD]):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
