"""How tests look at a model file that is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models import ModelError
from models.bundle import load_model


def refusal(path: Path, load: Callable[[Path], object] = load_model) -> str:
    """Return the message with which a file is refused: one line that begins with its path."""
    with pytest.raises(ModelError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message
