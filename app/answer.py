"""From the bytes of a picture to what the page shows."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from data.ham10000 import CLASS_NAMES, DIAGNOSES, MALIGNANT
from data.images import load_bytes
from data.painting import paint_lesion, photograph
from models.bundle import get_description, load_model
from models.grad_cam import Explainer, overlay
from models.inference import FeatureReader
from models.novelty import list_warnings, missing_warnings, read_detector

# What each class is, in one sentence; Tschandl et al. 2018 describe them at length.
SENTENCES = {
    "akiec": "Rough, scaly patches of sun-damaged skin that can turn into a squamous cell "
    "carcinoma, and its earliest form.",
    "bcc": "The most frequent skin cancer: it grows slowly, destroys what it grows into and hardly "
    "ever spreads.",
    "bkl": "Harmless growths of the horny layer, among them age warts and sun spots.",
    "df": "A harmless firm lump of connective tissue, often on the legs.",
    "mel": "Cancer of the pigment cells: it can spread early, and found early it can be cured.",
    "nv": "A mole: a harmless nest of pigment cells.",
    "vasc": "Harmless vessels or bleeding in the skin, such as cherry angiomas.",
}


class Answerer:
    """Answers what a model sees in pictures; not to be asked by two threads at once.

    Args:
        model_path: a `.keras` file.
        max_pixels: larger pictures are refused.
        shown_size: side of the pictures in the answer, pixels.

    Raises:
        ModelError: the file cannot be used.
    """

    def __init__(self, model_path: Path, *, max_pixels: int, shown_size: int) -> None:
        model = load_model(model_path)
        self._description = get_description(model)
        self._read = FeatureReader(model)
        self._detector = read_detector(self._description.detector, features=self._read.count)
        self._explain = Explainer(model)
        self._max_pixels, self._shown_size = max_pixels, shown_size
        self.note = missing_warnings(
            unsure_below=self._description.unsure_below, detector=self._detector
        )
        # The first call builds what all others use.
        side = self._description.image_size
        self._ask(np.zeros((side, side, 3), np.uint8))

    def __call__(self, content: bytes) -> dict:
        """Return the answer as JSON values.

        Args:
            content: of an image file.

        Raises:
            DataError: it cannot be read as an image, or has too many pixels.
        """
        picture = load_bytes(content, self._description.image_size, max_pixels=self._max_pixels)
        shown = load_bytes(content, self._shown_size, max_pixels=self._max_pixels)
        y_prob, score, heat = self._ask(picture)
        names = self._description.class_names
        place = int(y_prob.argmax())
        size = (self._shown_size, self._shown_size)
        heat = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
        doubts = list_warnings(
            float(y_prob[place]),
            score,
            unsure_below=self._description.unsure_below,
            unsure_accuracy=self._description.unsure_accuracy,
            detector=self._detector,
        )
        return {
            "answer": _describe(names[place]) | {"probability": float(y_prob[place])},
            "classes": [
                _describe(names[other]) | {"probability": float(y_prob[other])}
                for other in np.argsort(-y_prob, kind="stable")
            ],
            "warnings": [{"kind": kind, "text": text} for kind, text in doubts.items()],
            "picture": _data_url(shown),
            "heat": _data_url(overlay(shown, heat.clip(0, 1))),
            "heat_is_empty": not heat.any(),
        }

    def _ask(self, picture: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        y_prob, features = self._read(picture[None])
        score = float(self._detector.score(features)[0]) if self._detector else 0.0
        return y_prob[0], score, self._explain(picture[None], y_prob.argmax(axis=1))[0]


def paint_examples() -> dict[str, bytes]:
    """Paint pictures to try the page with; returns JPEG files by the class they imitate."""
    examples = {}
    for name in ("nv", "mel", "bcc", "vasc"):
        rng = np.random.default_rng([9, CLASS_NAMES.index(name)])
        buffer = io.BytesIO()
        photograph(rng, paint_lesion(rng, name)).save(buffer, "JPEG", quality=92)
        examples[name] = buffer.getvalue()
    return examples


def _describe(name: str) -> dict:
    return {
        "name": name,
        "title": DIAGNOSES.get(name, name),
        "sentence": SENTENCES.get(name, ""),
        "malignant": name in MALIGNANT,
    }


def _data_url(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
