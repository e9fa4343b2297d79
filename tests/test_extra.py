import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.extra import add_training_data, pixel_hashes


@pytest.fixture
def paint(tmp_path):
    """A function that writes a picture that depends on a number, and returns its path."""

    def write(name: str, number: int, **options) -> str:
        pixels = np.random.default_rng(number).integers(0, 256, (10, 14, 3), np.uint8)
        path = tmp_path / name
        Image.fromarray(pixels).save(path, **options)
        return str(path)

    return write


def test_the_hash_is_of_the_pixels_and_not_of_the_file(paint, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "another description"
    first = pixel_hashes([paint("a.png", 1), paint("b.png", 1, exif=exif), paint("c.bmp", 1)])
    assert len(set(first)) == 1
    assert pixel_hashes([paint("d.png", 2)])[0] not in (None, first[0])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert pixel_hashes([str(tmp_path / "broken.png")]) == [None]
    # The same bytes in another shape are another picture.
    Image.new("RGB", (8, 18)).save(tmp_path / "tall.png")
    Image.new("RGB", (18, 8)).save(tmp_path / "wide.png")
    tall, wide = pixel_hashes([str(tmp_path / "tall.png"), str(tmp_path / "wide.png")])
    assert tall != wide


def test_nothing_of_validation_or_test_comes_into_training(paint):
    rows = [("t", "T", "train"), ("v", "V", "val"), ("x", "X", "test"), ("y", "Y", "test")]
    frame = pd.DataFrame(rows, columns=["image_id", "lesion_id", "split"])
    frame["label"] = "nv"
    frame["path"] = [paint(f"{name}.png", place) for place, (name, _, _) in enumerate(rows)]
    extra = pd.DataFrame(
        [
            ("v", "A", 10),  # an image of validation, under another lesion
            ("a2", "A", 11),  # the same lesion as that image
            ("b", "V", 12),  # a lesion of validation
            ("c", "C", 2),  # the pixels of a test image
            ("c2", "C", 13),  # the same lesion as those
            ("t", "D", 14),  # an image of training
            ("e", "E", 0),  # the pixels of a training image
            ("f", "T", 15),  # another photograph of a training lesion
            ("g", "G", 16),
            ("g2", "G2", 16),  # the pixels of the one before
        ],
        columns=["image_id", "lesion_id", "number"],
    )
    extra["path"] = [paint(f"extra-{row.image_id}.png", row.number) for row in extra.itertuples()]
    merged, counts = add_training_data(frame, extra.assign(label="mel").drop(columns="number"))
    assert merged["image_id"].tolist() == ["t", "v", "x", "y", "f", "g"]
    assert merged["split"].tolist() == ["train", "val", "test", "test", "train", "train"]
    assert vars(counts) == {"by_id": 2, "by_pixels": 1, "by_lesion": 2, "repeated": 3, "added": 2}
    assert merged.index.tolist() == list(range(6))
