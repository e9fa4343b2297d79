import numpy as np
from PIL import Image

from data.duplicates import pixel_hashes


def test_the_hash_depends_on_the_pixels_and_not_on_the_file(tmp_path):
    def write(name: str, number: int, **options) -> str:
        pixels = np.random.default_rng(number).integers(0, 256, (10, 14, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return str(tmp_path / name)

    exif = Image.Exif()
    exif[0x010E] = "another description"
    hashes = pixel_hashes([write("a.png", 1), write("b.png", 1, exif=exif), write("c.bmp", 1)])
    assert len(set(hashes)) == 1
    assert pixel_hashes([write("d.png", 2)])[0] not in (None, hashes[0])


def test_the_same_bytes_in_another_shape_are_another_image(tmp_path):
    Image.new("RGB", (8, 18)).save(tmp_path / "tall.png")
    Image.new("RGB", (18, 8)).save(tmp_path / "wide.png")
    tall, wide = pixel_hashes([str(tmp_path / "tall.png"), str(tmp_path / "wide.png")])
    assert tall != wide


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    assert pixel_hashes([str(tmp_path / "broken.png")]) == [None]
