"""Event files for TensorBoard: what they hold, and that a resumed training writes nothing twice."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny import read_events

from training.events import EventLog

ROWS = [
    {"epoch": i, "phase": "head", "learning_rate": 0.5**i, "loss": 2.0 - i, "val_loss": 3.0 - i}
    for i in (1, 2, 3)
]
TRAIN = [
    (tag, i, value)
    for i in (1, 2, 3)
    for tag, value in (("epoch_learning_rate", 0.5**i), ("epoch_loss", 2.0 - i))
]


def test_curves_have_the_names_and_folders_of_the_callback_of_keras(tmp_path):
    log = EventLog(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
    for count in (1, 2, 3):
        log.write_history(ROWS[:count])
    assert read_events(tmp_path / "logs" / "train") == TRAIN
    expected = [("epoch_loss", i, 3.0 - i) for i in (1, 2, 3)]
    assert read_events(tmp_path / "logs" / "validation") == expected


def test_what_a_killed_training_wrote_is_not_written_again(tmp_path):
    """Its last event may be cut off, or missing."""
    log = EventLog(tmp_path)
    log.write_history(ROWS[:2])
    (path,) = (tmp_path / "train").iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    EventLog(tmp_path).write_history(ROWS)
    path.rename(tmp_path / "cut")
    assert read_events(tmp_path / "train") == TRAIN[2:]
    assert [step for _, step, _ in read_events(tmp_path / "validation")] == [1, 2, 3]


def test_augmented_images_fill_a_square(tmp_path):
    images = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 3), np.uint8)

    def augment(batch, *, seed, step):
        assert (seed, step) == (7, 0)
        return tf.cast(batch[:, :4, :4], tf.float32) + 0.4

    for _ in range(2):
        EventLog(tmp_path).write_augmented(images, augment, 7, 9)
    ((tag, step, image),) = read_events(tmp_path / "train")
    assert (tag, step, image.width, image.height) == ("augmented_images", 9, 20, 20)
    pixels = tf.io.decode_png(image.encoded_image_string).numpy()
    assert pixels[::4, ::4, 0].ravel().tolist() == np.linspace(0, 29, 25).astype(int).tolist()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    log = EventLog(tmp_path / "logs")
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(OSError, match="logs"):
        log.write_history(ROWS)
    assert not list(Path(tmp_path).glob("logs/*"))
