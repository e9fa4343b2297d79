"""How a model is trained. This is where `data`, `models`, `metrics` and `config` meet."""

from support import InputError

OUT_OF_MEMORY = "out of memory; reduce --batch_size (images per step) or --image_size"


class TrainingError(InputError):
    """A run cannot start, resume or go on; the message says what to do."""


class DivergedError(TrainingError):
    """A loss or a weight is NaN or infinite."""
