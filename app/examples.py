"""Generated images to try the page with."""

import io

import numpy as np

from data.ham10000 import CLASS_NAMES
from data.lesions import generate_lesion
from data.painting import render_image


def generate_examples() -> dict[str, bytes]:
    """Return JPEG files of synthetic lesions, by the class that they imitate."""
    examples = {}
    for name in ("nv", "mel", "bcc", "vasc"):
        rng = np.random.default_rng([9, CLASS_NAMES.index(name)])
        buffer = io.BytesIO()
        render_image(rng, generate_lesion(rng, name)).save(buffer, "JPEG", quality=92)
        examples[name] = buffer.getvalue()
    return examples
