"""From the content of an image file to what the page shows, in words and numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from app.settings import AppConfig
from data import DataError
from data.class_names import class_titles
from data.crop import Square
from data.ham10000 import DIAGNOSES
from data.images import load_bytes, load_whole
from metrics.markup import jpeg_url
from metrics.numbers import format_percent
from metrics.prediction import (
    FEWEST_SHOWN,
    MALIGNANT_TITLE,
    UNKNOWN_MALIGNANT,
    class_label,
    heading,
    prediction_set_names,
    prediction_set_text,
)
from models.description import SYNTHETIC_WARNING, Description
from models.heat_map import overlay
from models.predictions import BaseClassifier, Predictions
from support.files import capitalize, one_line
from training.prediction import build_table, choose_operating_point

DISCLAIMER = (
    "This is not medical advice. The program is for research and teaching, and it misses "
    "melanomas. If you are worried about a mole, see a doctor."
)
# What the images of each class of HAM10000 show, after Tschandl et al. 2018. Below a probability,
# any word about how dangerous it is would read as a finding in the user's image.
CLASS_DESCRIPTIONS = {
    "akiec": "Images of actinic keratoses, rough patches of sun-damaged skin that can turn into "
    "squamous cell carcinoma, and of Bowen's disease, the earliest form of that cancer.",
    "bcc": "Images of basal cell carcinomas, the most common skin cancer.",
    "bkl": "Images of seborrheic keratoses, sun spots and similar growths of the outer skin.",
    "df": "Images of dermatofibromas, firm nodules of connective tissue.",
    "mel": "Images of melanomas, cancers of the pigment cells.",
    "nv": "Images of moles, growths of pigment cells. Melanomas can look like them.",
    "vasc": "Images of cherry angiomas and other changes of blood vessels, and of bleeding in the "
    "skin.",
}


class Predictor:
    """Predicts the class of an image for the page; for one thread at a time.

    Args:
        classifier: of a `.keras` file.
        settings: of the page.

    Raises:
        ModelError: the classifier has no heat maps.
        InputError: it has no such operating point as the settings name.
    """

    def __init__(self, classifier: BaseClassifier, settings: AppConfig) -> None:
        self._classifier, self._settings = classifier, settings
        self._point = choose_operating_point(settings.operating_point, classifier.description)
        # The first calls build what all later ones use.
        size = classifier.description.image_size
        classifier(np.zeros((1, size, size, 3), np.uint8))
        classifier.prepare_explanations()

    def __call__(
        self, content: bytes, class_name: str | None = None, square: Square | None = None
    ) -> dict:
        """Return the prediction as JSON values.

        Args:
            content: of an image file.
            class_name: class that the heat map explains; None for the predicted one.
            square: what the model sees, in pixels of the upright image; None for the default.

        Raises:
            DataError: it cannot be read as an image, has too many pixels, the square is not inside
                it, or the model has no such class.
        """
        description, size = self._classifier.description, self._settings.shown_size
        if class_name is not None and class_name not in description.class_names:
            raise DataError(f"expected a class of the model, received {class_name!r:.80}")
        image = self._load(content, description.image_size, square)
        shown = self._load(content, size, square)
        predictions, heat_map = self._predict(image, class_name)
        scaled = Image.fromarray(heat_map).resize((size, size), Image.Resampling.BILINEAR)
        result = self._describe(predictions)
        effect = "Bright regions increase" if heat_map.any() else "No region increases"
        explained = class_name or result["classes"][0]["name"]
        title = next(item["title"] for item in result["classes"] if item["name"] == explained)
        return result | {
            "model": describe_model(self._classifier),
            "disclaimer": " ".join(
                (DISCLAIMER, description.melanoma_note, description.calibration_note)
            ),
            "image": jpeg_url(shown),
            "heat_map": jpeg_url(overlay(shown, np.asarray(scaled).clip(0, 1))),
            "heat_map_caption": f"{effect} the score for {title} (Grad-CAM)",
            "explained": explained,
        }

    def preview(self, content: bytes) -> dict:
        """Return a whole image, and the square of it that the model sees, as JSON values.

        Args:
            content: of an image file.

        Raises:
            DataError: it cannot be read as an image, or has too many pixels.
        """
        pixels, (width, height), square = load_whole(
            content,
            self._classifier.description.image_size,
            self._settings.shown_size,
            max_pixels=self._settings.max_pixels,
        )
        return {"image": jpeg_url(pixels), "width": width, "height": height, "square": square}

    def row(self, content: bytes, name: str, square: Square | None = None) -> dict:
        """Return the row that `predict.py --output` writes for an image, as JSON values.

        Args:
            content: of an image file.
            name: of the image.
            square: as for a prediction.

        Raises:
            DataError: it cannot be read as an image, has too many pixels, or the square is not
                inside it.
        """
        description = self._classifier.description
        predictions = self._classifier(self._load(content, description.image_size, square)[None])
        table = build_table([one_line(name)], predictions, description.class_names, self._point)
        return table.to_dict(orient="records")[0]

    def _load(self, content: bytes, image_size: int, square: Square | None) -> np.ndarray:
        limit = self._settings.max_pixels
        return load_bytes(content, image_size, max_pixels=limit, square=square)

    def _predict(self, image: np.ndarray, class_name: str | None) -> tuple[Predictions, np.ndarray]:
        """Return the prediction for one image, and the heat map of a class."""
        predictions = self._classifier(image[None])
        indices = predictions.class_indices
        if class_name is not None:
            indices = np.array([self._classifier.description.class_names.index(class_name)])
        return predictions, self._classifier.explain(image[None], indices)[0]

    def _describe(self, predictions: Predictions) -> dict:
        """Return what the prediction for one image says, as JSON values."""
        description, y_prob = self._classifier.description, predictions.y_prob[0]
        titles = class_titles(description.class_names, description.class_titles)
        classes = [
            _describe_class(description, i, float(y_prob[i]), titles)
            for i in np.argsort(-y_prob, kind="stable")
        ]
        uncertain, outside = (
            None if values is None else bool(values[0])
            for values in (predictions.uncertain, predictions.out_of_distribution)
        )
        total = self._classifier.malignant_probability(predictions)
        (warnings,) = self._classifier.warnings(predictions)
        decision, likely = "", []
        if self._point is not None and not outside:
            by_name = dict(zip(description.class_names, y_prob.tolist(), strict=True))
            _, decision = self._point.decide(by_name)
        if predictions.prediction_set is not None and not outside:
            names = prediction_set_names(
                y_prob, predictions.prediction_set[0], description.class_names
            )
            likely = [titles.get(name, name) for name in names]
        return {
            "heading": heading(
                capitalize(classes[0]["title"]),
                classes[0]["probability"],
                uncertain=bool(uncertain),
                out_of_distribution=bool(outside),
            ),
            # Below a heading that names no class.
            "top": classes[:FEWEST_SHOWN] if uncertain and not outside else [],
            "decision": decision,
            "set": prediction_set_text(likely, description.set_coverage),
            "malignant": _describe_malignant(
                None if total is None else float(total[0]),
                [titles.get(name, name) for name in description.malignant],
            ),
            "out_of_distribution": outside,
            "warnings": [{"kind": kind, "text": text} for kind, text in warnings.items()],
            "classes": classes,
        }


def describe_model(classifier: BaseClassifier) -> dict:
    """Return what the page says about its model, as JSON values."""
    description, path = classifier.description, classifier.path
    # Where the folder lies is nobody's business who uses the page from another machine.
    name = one_line("/".join(path.absolute().parts[-2:]) if path else description.model)
    return {
        "text": f"Model: {name}, {description.origin}.",
        "warning": SYNTHETIC_WARNING if description.synthetic else "",
        "note": classifier.missing_warnings,
    }


def _describe_class(
    description: Description, index: int, probability: float, titles: Mapping[str, str]
) -> dict:
    name = description.class_names[index]
    malignant = name in description.malignant
    # Another data set may call something else by this name.
    is_ham10000 = name in DIAGNOSES and titles.get(name) == DIAGNOSES[name]
    return {
        "name": name,
        "title": titles.get(name, name),
        "label": class_label(name, titles),
        "description": CLASS_DESCRIPTIONS[name] if is_ham10000 else "",
        "tag": MALIGNANT_TITLE.lower() if malignant else "",
        "malignant": malignant,
        "probability": probability,
        "percent": format_percent(probability),
    }


def _describe_malignant(probability: float | None, titles: Sequence[str]) -> dict:
    """Return the probability of the malignant classes together; None if they are not known."""
    if probability is None:
        return {"probability": None, "text": "", "note": UNKNOWN_MALIGNANT}
    classes, start = " classes together", "Sum over these classes"
    if len(titles) == 1:
        classes, start = "", "Probability of this class"
    return {
        "probability": probability,
        "text": f"{MALIGNANT_TITLE}{classes}: {format_percent(probability)}",
        "note": f"{start}: {'; '.join(titles)}. A low value does not rule out cancer.",
    }
