"""Telling photographs that were taken without a dermatoscope from dermatoscopic images.

The detector of a model, `models.novelty`, compares the features of that model, which was trained to
look at lesions: to it, most photographs of a lesion are like its training images. How a photograph
differs (light, gloss, texture of the skin, what is around the lesion) shows in the first layers of
a network for ImageNet. `photographs.tflite` consists of such layers of MobileNetV2, the mean and
the standard deviation of five of their outputs over the image, and a logistic regression on these,
which `python -m benchmarks.photographs` fits. It is the same for all models.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from models import ModelError
from models.backend import quiet
from models.checksums import is_bundled
from models.litert import open_interpreter

# Of the images that the file takes.
SIDE_LENGTH = 128
# The file is written so that 1 % of HAM10000's validation images have a higher score.
DEFAULT_THRESHOLD = 0.0
_PATH = Path(__file__).parent / "pretrained" / "photographs.tflite"


class PhotographDetector:
    """Scores images by a file that `python -m benchmarks.photographs` wrote.

    Args:
        flatbuffer: its content, which must be known to come from there.
    """

    def __init__(self, flatbuffer: bytes) -> None:
        with quiet():
            self._interpreter = open_interpreter(flatbuffer)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        # All classifiers of a process share the detector.
        self._lock = threading.Lock()

    def score(self, images: np.ndarray) -> np.ndarray:
        """Score images; see `score_photographs`."""
        scores = np.empty(len(images), np.float32)
        for i in range(len(images)):
            pixels = scale_images(images[i : i + 1], SIDE_LENGTH)
            with self._lock:
                self._interpreter.set_tensor(self._input, pixels)
                self._interpreter.invoke()
                scores[i] = self._interpreter.get_tensor(self._output)[0, 0]
        return scores


def score_photographs(images: np.ndarray) -> np.ndarray:
    """Score how much images look like photographs without a dermatoscope.

    Args:
        images: uint8 or float32 `[images, size, size, 3]` of any size, 0..255; may be empty.

    Returns:
        float32 `[images]`, log odds, shifted so that few dermatoscopic images are above
        `DEFAULT_THRESHOLD`.

    Raises:
        ModelError: the file of the detector is missing or damaged.
    """
    return _load_detector().score(images)


def scale_images(images: np.ndarray, size: int) -> np.ndarray:
    """Scale square images as `data.images` does, which averages over pixels where it shrinks.

    Args:
        images: as for `score_photographs`.
        size: side length of the result, pixels.

    Returns:
        uint8 `[images, size, size, 3]`, 0..255.
    """
    if images.dtype != np.uint8:
        images = images.round().clip(0, 255).astype(np.uint8)
    scaled = np.empty((len(images), size, size, 3), np.uint8)
    for i, image in enumerate(images):
        scaled[i] = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return scaled


@functools.cache
def _load_detector() -> PhotographDetector:
    # Its checksum takes the place of the checks of files that anybody may have written.
    if not (_PATH.is_file() and is_bundled(_PATH)):
        raise ModelError(
            f"{_PATH}: expected the file that comes with the project, found none or another; get "
            "the folder models/pretrained again"
        )
    return PhotographDetector(_PATH.read_bytes())
