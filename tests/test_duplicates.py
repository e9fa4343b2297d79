import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.duplicates import main
from data.fingerprints import pack_hashes, pixel_hashes, read_fingerprints, unpack_hashes
from data.groups import group_lesions
from data.near_duplicates import Pair


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


def test_lesions_are_joined_by_near_duplicates_and_by_patient():
    lesions = pd.Series(list("ABCDE"), index=range(5, 10))
    none = [None] * 5
    assert group_lesions(lesions, none, pairs=[Pair(4, 2, 0.9)]).tolist() == list("ABCDC")
    patients = ["p", "", "q", "", "p"]
    assert group_lesions(lesions, none, patient_ids=patients).tolist() == list("ABCDA")
    hashes = ["1", "1", None, None, None]
    groups = group_lesions(lesions, hashes, pairs=[Pair(2, 3, 0.9)], patient_ids=patients)
    assert groups.tolist() == list("AACCA")
    assert groups.index.equals(lesions.index)


def test_one_pass_yields_hashes_and_thumbnails_and_passes_over_what_cannot_be_read(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    done = []
    found = read_fingerprints(paths, on_progress=lambda *count: done.append(count))
    assert found.hashes == pixel_hashes(paths)
    assert found.thumbnails.pixels.shape == (2, 64, 64, 3)
    assert found.thumbnails.usable.tolist() == [True, False]
    assert done == [(1, 2), (2, 2)]


def test_the_command_prints_the_pairs_and_writes_a_table_and_a_sheet(tmp_path, capsys):
    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    for name in ("=a", "b"):
        small = Image.fromarray(rng.integers(60, 200, (30, 30, 3), np.uint8))
        image = small.resize((150, 150), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"images/{name}.png")
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "images/c.png")
    arguments = ["--data_dir", str(tmp_path / "images"), "--output_dir", str(tmp_path / "out")]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "b.png and c.png: " in output
    assert "1 pair of near-duplicates" in output
    assert pd.read_csv(tmp_path / "out/near_duplicates.csv")["image_1"].tolist() == ["b.png"]
    assert (tmp_path / "out/near_duplicates.jpg").stat().st_size > 1000
    # Images that a table does not list are compared as well.
    (tmp_path / "images/labels.csv").write_text("image,dx,lesion_id\n=a,nv,L1\nb,mel,L2\n")
    assert main(arguments) == 0
    assert "1 pair of near-duplicates" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out/near_duplicates.csv", keep_default_na=False)
    assert table[["image_1", "lesion_1", "image_2", "lesion_2"]].values.tolist() == [
        ["b", "L2", "c.png", ""]
    ]
    (tmp_path / "images/labels.csv").write_text("image,dx\nb,nv\nb,mel\n")
    assert main(arguments) == 0
    assert "note: no ids of lesions: " in capsys.readouterr().err
    (tmp_path / "images/d.png").write_bytes(b"broken")
    assert main(arguments) == 1
    assert "skipped " in capsys.readouterr().err
    assert main(["--data_dir", str(tmp_path / "nowhere")]) == 2
    assert "--data_dir: expected a folder of images" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["./set", "set//", "set/../set"])
def test_lesions_are_known_however_the_folder_is_written(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    for name in "ab":
        Image.fromarray(pixels).save(tmp_path / f"set/{name}.png")
    (tmp_path / "set/labels.csv").write_text("image,dx,lesion_id\na,nv,L1\nb,mel,L2\n")
    assert main(["--data_dir", form]) == 0
    table = pd.read_csv(tmp_path / "near_duplicates.csv")
    assert table[["lesion_1", "lesion_2"]].values.tolist() == [["L1", "L2"]]
