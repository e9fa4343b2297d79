"""Generated images to try the page with, chosen by what the model in use makes of them."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.classes import ClassScheme, scheme_of_model
from data.ham10000 import CLASS_NAMES, DIAGNOSES
from data.images import load_bytes
from data.lesions import generate_lesion
from data.painting import render_image
from models.predictions import BaseClassifier

# The classes whose lesions are generated, and how many of each are tried.
_CLASSES, _TRIES = ("nv", "mel", "bcc", "bkl"), 6
_CARD_SIZE, _CARD_FIELD = (200, 150), 25


@dataclass(frozen=True)
class Example:
    """An image to try the page with.

    Attributes:
        title: what it shows, and what the model makes of it.
        content: of its JPEG file.
    """

    title: str
    content: bytes


def choose_examples(classifier: BaseClassifier) -> dict[str, Example]:
    """Return a lesion that a model predicts right, one of which it is uncertain, and a test card.

    All are synthetic, and of none the model predicts a wrong class. There is no example of a
    warning that the model cannot give or of which none was found, and no lesion of a class that it
    does not have.

    Args:
        classifier: the model in use.

    Returns:
        By `right`, `uncertain` and `out_of_distribution`.
    """
    description = classifier.description
    outcomes = {"right": "predicted"}
    if description.confidence_threshold is not None:
        outcomes["uncertain"] = "uncertain"
    found = {}
    for title, content, expected in _generate_lesions(scheme_of_model(description)):
        if len(found) == len(outcomes):
            break
        predictions = classifier(load_bytes(content, description.image_size)[None])
        predicted = description.class_names[predictions.class_indices[0]]
        if predicted == expected and not _is_true(predictions.out_of_distribution):
            kind = "uncertain" if _is_true(predictions.uncertain) else "right"
            found.setdefault(kind, Example(f"{title}, {outcomes[kind]}", content))
    examples = {kind: found[kind] for kind in outcomes if kind in found}
    card = _draw_test_card()
    predictions = classifier(load_bytes(card, description.image_size)[None])
    if _is_true(predictions.out_of_distribution):
        examples["out_of_distribution"] = Example("test card, out of distribution", card)
    return examples


def _generate_lesions(classes: ClassScheme) -> Iterator[tuple[str, bytes, str]]:
    """Yield the title of each lesion, the content of its file, and its class."""
    for name in _CLASSES:
        expected = classes.find(name)
        for seed in range(_TRIES) if expected is not None else ():
            yield DIAGNOSES[name], generate_lesion_file(name, seed), expected


def generate_lesion_file(class_name: str, seed: int) -> bytes:
    """Return the content of a JPEG file of a synthetic lesion of a class of HAM10000."""
    rng = np.random.default_rng([seed, CLASS_NAMES.index(class_name)])
    return _encode(render_image(rng, generate_lesion(rng, class_name)))


def _draw_test_card() -> bytes:
    """Return an image of colored fields, which no dermatoscope takes."""
    width, height = _CARD_SIZE
    rows, columns = np.mgrid[:height, :width] // _CARD_FIELD
    channels = (rows % 2, columns % 2, (rows + columns) // 2 % 2)
    return _encode(Image.fromarray((255 * np.stack(channels, axis=-1)).astype(np.uint8)))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _is_true(values: np.ndarray | None) -> bool:
    """Return a warning for the one image of a batch; False if the model cannot give it."""
    return values is not None and bool(values[0])
