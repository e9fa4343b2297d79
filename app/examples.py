"""Generated images to try the page with."""

import io

import numpy as np

from data.classes import HAM10000, ClassScheme
from data.ham10000 import CLASS_NAMES
from data.lesions import generate_lesion
from data.painting import render_image


def generate_examples(classes: ClassScheme = HAM10000) -> dict[str, bytes]:
    """Return JPEG files of synthetic lesions, by the class of HAM10000 that they imitate.

    Args:
        classes: of a model; there are no examples of a class that it does not have.
    """
    examples = {}
    for name in ("nv", "mel", "bcc", "vasc"):
        if classes.find(name) is None:
            continue
        rng = np.random.default_rng([9, CLASS_NAMES.index(name)])
        buffer = io.BytesIO()
        render_image(rng, generate_lesion(rng, name)).save(buffer, "JPEG", quality=92)
        examples[name] = buffer.getvalue()
    return examples
