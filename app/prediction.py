"""From the content of an image file to what the page shows."""

import base64
import io

import numpy as np
from PIL import Image

from config import AppConfig
from data.ham10000 import DIAGNOSES, MALIGNANT
from data.images import load_bytes
from models.classifier import Classifier, Predictions
from models.grad_cam import overlay

# What is in each class of HAM10000, after Tschandl et al. 2018.
CLASS_DESCRIPTIONS = {
    "akiec": "Actinic keratoses: rough, scaly patches of sun-damaged skin that can turn into "
    "squamous cell carcinoma. Bowen's disease: the earliest form of that cancer.",
    "bcc": "The most common skin cancer. It grows slowly, destroys the tissue around it and rarely "
    "spreads to other organs.",
    "bkl": "Benign growths of the outer skin, such as seborrheic keratoses and sun spots.",
    "df": "Firm, benign nodules of connective tissue, often on the legs.",
    "mel": "Cancer of the pigment cells. It can spread early. Found at an early stage, it can be "
    "cured by surgery.",
    "nv": "Moles: benign growths of pigment cells. A melanoma can look like one.",
    "vasc": "Benign changes of blood vessels, such as cherry angiomas, and bleeding in the skin.",
}


class Predictor:
    """Predicts the class of an image for the page; for one thread at a time.

    Args:
        classifier: of a `.keras` file.
        settings: of the page.

    Raises:
        ModelError: the classifier has no heat maps.
    """

    def __init__(self, classifier: Classifier, settings: AppConfig) -> None:
        self._classifier, self._settings = classifier, settings
        # The first call builds what all later ones use.
        size = classifier.description.image_size
        self._predict(np.zeros((size, size, 3), np.uint8))

    def __call__(self, content: bytes) -> dict:
        """Return the prediction as JSON values.

        Args:
            content: of an image file.

        Raises:
            DataError: it cannot be read as an image, or has too many pixels.
        """
        description, size = self._classifier.description, self._settings.shown_size
        max_pixels = self._settings.max_pixels
        image = load_bytes(content, description.image_size, max_pixels=max_pixels)
        shown = load_bytes(content, size, max_pixels=max_pixels)
        predictions, heat_map = self._predict(image)
        y_prob = predictions.y_prob[0]
        classes = [
            _describe_class(description.class_names[i]) | {"probability": float(y_prob[i])}
            for i in np.argsort(-y_prob, kind="stable")
        ]
        (warnings,) = self._classifier.warnings(predictions)
        scaled = Image.fromarray(heat_map).resize((size, size), Image.Resampling.BILINEAR)
        return {
            "prediction": classes[0],
            "classes": classes,
            "warnings": [{"kind": kind, "text": text} for kind, text in warnings.items()],
            "image": _data_url(shown),
            "heat_map": _data_url(overlay(shown, np.asarray(scaled).clip(0, 1))),
            "heat_map_is_empty": not heat_map.any(),
        }

    def _predict(self, image: np.ndarray) -> tuple[Predictions, np.ndarray]:
        """Return the prediction for one image, and the heat map of the predicted class."""
        predictions = self._classifier(image[None])
        return predictions, self._classifier.explain(image[None], predictions.class_indices)[0]


def _describe_class(name: str) -> dict:
    return {
        "name": name,
        "title": DIAGNOSES.get(name, name),
        "description": CLASS_DESCRIPTIONS.get(name, ""),
        "malignant": name in MALIGNANT,
    }


def _data_url(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
