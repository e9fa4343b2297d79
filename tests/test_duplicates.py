import numpy as np
import pandas as pd
from PIL import Image

from data.duplicates import group_lesions, pack_hashes, pixel_hashes, unpack_hashes


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


def test_packed_hashes_are_compact_and_come_back():
    hashes = ["ff" * 8, "00" * 8, None, "0123456789abcdef", "ff" * 8]
    packed = pack_hashes(hashes)
    assert packed == "AAAAAAAAAAABI0VniavN7///////////"
    assert unpack_hashes(packed) == {"00" * 8, "0123456789abcdef", "ff" * 8}
    assert pack_hashes([None]) == ""
    assert unpack_hashes("") == set()


def test_lesions_with_identical_images_are_one_group_through_any_chain():
    lesions = pd.Series(list("DCBAEFF"), index=range(10, 17))
    groups = group_lesions(lesions, ["1", "1", "2", "2", None, None, "3"])
    assert groups.tolist() == list("CCAAEFF")
    assert groups.index.equals(lesions.index)
    # D has an image of C, C one of B, and B one of A.
    lesions = pd.Series(list("DCCBBAE"))
    assert group_lesions(lesions, list("1122334")).tolist() == list("AAAAAAE")
