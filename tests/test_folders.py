import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.folders import describe_masks, find_images, find_masks, list_folder
from data.image_matches import match_images
from data.masks import find_mask_files


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_mask(path: Path, mode: str = "L", size: tuple[int, int] = (24, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.zeros(size[::-1], np.uint8)
    levels[5:15, 6:18] = 255
    Image.fromarray(levels).convert(mode).save(path)
    return path


def listed(root: Path) -> tuple[list[str], list[str]]:
    folder = list_folder(root)
    return tuple(
        [str(Path(path).relative_to(root)) for path in paths]
        for paths in (folder.images, folder.masks)
    )


def matched(root: Path, *image_ids: str) -> list[str | None]:
    paths = match_images(image_ids, list_folder(root)).paths
    return [path and str(Path(path).relative_to(root)) for path in paths]


def test_tables_images_and_masks_of_a_folder_are_listed_and_other_files_ignored(tmp_path):
    for name in (
        "b/two.JFIF",
        "b/one.jpe",
        "a.HEIC",
        "table.csv",
        "GroundTruth",
        "._a.jpg",
        "x.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = list_folder(tmp_path)
    assert folder.tables == [tmp_path / "GroundTruth", tmp_path / "table.csv"]
    assert listed(tmp_path) == (["a.HEIC", "b/one.jpe", "b/two.JFIF"], [])


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "Masks/a.png"),
        ("images/a.jpg", "masks/nested/a.png"),
        ("images/a.jpg", "Segmentation Masks/a.png"),
        ("images/a.jpg", "LesionMasks/a.png"),
        ("images/a.jpg", "HAM10000_segmentations_lesion_tschandl/a_segmentation.png"),
        ("segmentation_dataset/images/a.jpg", "segmentation_dataset/labels/a.png"),
        ("nv/a.jpg", "nv/a_segmentation.png"),
        ("nv/a.jpg", "nv/a_Mask.png"),
        ("nv/a.jpg", "nv/aMask.png"),
        ("nv/a.jpg", "nv/mask_a.png"),
        ("nv/a.jpg", "nv/a-seg.png"),
        ("nv/a.jpg", "nv/a.png"),
        ("nv/a.jpg", "nv/a (1).mask.png"),
        ("input/a.jpg", "ISIC2018_Task2_Training_GroundTruth_v3/a_attribute_globules.png"),
        ("PH2/a/a_Dermoscopic_Image/a.bmp", "PH2/a/a_lesion/a_lesion.bmp"),
        ("x/a.jpg", "annotations/a.png"),
        ("x/a.jpg", "y/a.jpg"),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_a_mask_is_never_an_image(tmp_path, image, mask, mode):
    write_image(tmp_path / image)
    write_mask(tmp_path / mask, "L" if mask.endswith(".jpg") else mode)
    assert listed(tmp_path) == ([image], [mask])
    notes = match_images(["a"], list_folder(tmp_path)).notes
    assert notes == [f"ignored: 1 segmentation mask, such as {mask}"]
    assert describe_masks(list_folder(tmp_path)) == notes[0]


def test_superpixels_are_no_images_although_they_are_colored(tmp_path):
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "a_superpixels.png", seed=1)
    assert listed(tmp_path) == (["a.jpg"], ["a_superpixels.png"])


@pytest.mark.parametrize(
    "names",
    [
        ("segmentation_dataset/a.jpg", "segmentation_dataset/b.jpg"),
        ("masks/images/a.jpg", "masks/images/b.jpg"),
        ("a.jpg", "a_left.jpg", "a_right.jpg"),
        ("1.jpg", "1 (1).jpg", "10.jpg"),
        ("surgical mask.jpg", "seg fault.jpg"),
        ("unmasked/a.jpg", "gtx.jpg", "massegar.jpg"),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_photographs_are_no_masks_whatever_their_names(tmp_path, names, mode):
    for seed, name in enumerate(names):
        with Image.open(write_image(tmp_path / name, seed)) as image:
            image.convert(mode).save(tmp_path / name)
    assert listed(tmp_path) == (sorted(names), [])


def test_the_name_of_the_root_does_not_make_masks(tmp_path):
    write_image(tmp_path / "Masks/a.jpg")
    assert listed(tmp_path / "Masks") == (["a.jpg"], [])


def test_masks_alone_are_recognized_by_their_content(tmp_path):
    for i in range(7):
        write_mask(tmp_path / f"ISIC_{i}.png")
    assert listed(tmp_path)[0] == []


def test_many_folders_with_files_of_one_name_share_a_thread_pool(tmp_path, monkeypatch):
    paths = [str(write_image(tmp_path / f"f{i}" / "a.png", i)) for i in range(20)]
    pools = []

    def open_pool(workers):
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr("data.parallel.ThreadPoolExecutor", open_pool)
    assert find_mask_files(paths, tmp_path) == set()
    assert 1 <= len(pools) <= 2


def test_a_folder_of_images_with_some_masks_is_divided(tmp_path):
    for i in range(8):
        write_image(tmp_path / f"images/{i}.png", i)
        write = write_mask if i % 3 == 0 else write_image
        write(tmp_path / f"more/{i}.png")
    assert listed(tmp_path)[1] == ["more/0.png", "more/3.png", "more/6.png"]


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("ISIC_1", "ISIC_1.jpg"),
        ("ISIC_1.jpg", "ISIC_1.jpg"),
        ("ISIC_1.JPG", "ISIC_1.png"),
        ("isic_1", "ISIC_1.jpg"),
        ("images/ISIC_1.jpg", "images/ISIC_1.jpg"),
        ("images/ISIC_1.jpg", "part_1/ISIC_1.jpg"),
        ("data/images/ISIC_1", "images/ISIC_1.jpg"),
        ("/kaggle/input/images/ISIC_1.jpg", "images/ISIC_1.jpg"),
        ("images\\ISIC_1.jpg", "images/ISIC_1.jpg"),
        ("ISIC_1.v2", "ISIC_1.v2.jpg"),
        (unicodedata.normalize("NFC", "läsion"), unicodedata.normalize("NFD", "läsion.jpg")),
        (unicodedata.normalize("NFD", "läsion"), unicodedata.normalize("NFC", "läsion.jpg")),
    ],
)
def test_an_id_finds_its_file(tmp_path, image_id, name):
    write_image(tmp_path / name)
    assert matched(tmp_path, image_id) == [name]


@pytest.mark.parametrize("image_id", ["../outside", "..\\outside", "x/../../outside", "ISIC_1.v2"])
def test_an_id_finds_no_other_file(tmp_path, image_id):
    write_image(tmp_path / "outside.jpg")
    write_image(tmp_path / "data/ISIC_1.jpg")
    write_image(tmp_path / "data/nested/ISIC_1.jpg")
    assert matched(tmp_path / "data", image_id) == [None]


def test_folders_in_ids_tell_files_of_one_name_apart(tmp_path):
    for seed, name in enumerate(("train/1.jpg", "test/1.jpg", "test/2.jpg")):
        write_image(tmp_path / name, seed)
    ids = ("train/1.jpg", "test/1.jpg", "test/2", "train/2")
    assert matched(tmp_path, *ids) == ["train/1.jpg", "test/1.jpg", "test/2.jpg", None]


def test_the_very_path_comes_before_a_larger_file_that_ends_in_it(tmp_path):
    write_image(tmp_path / "a/1.png", 0)
    write_image(tmp_path / "old/a/1.png", 1, (48, 40))
    matches = match_images(["a/1.png", "old/a/1.png"], list_folder(tmp_path))
    assert matches.paths == [str(tmp_path / "a/1.png"), str(tmp_path / "old/a/1.png")]
    assert matches.notes == []


def test_a_file_of_the_very_name_comes_before_one_in_another_case(tmp_path):
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "A.jpg", 1)
    assert matched(tmp_path, "a", "A") == ["a.jpg", "A.jpg"]


def test_of_several_files_for_an_id_the_larger_is_used_and_named(tmp_path):
    for i in range(3):
        write_image(tmp_path / f"Augmented/{i}.jpg", i, (12, 10))
        write_image(tmp_path / f"images/{i}.jpg", i)
    matches = match_images(["0", "1", "2"], list_folder(tmp_path))
    assert [Path(path).parent.name for path in matches.paths] == ["images"] * 3
    assert matches.notes == [
        "several files for 3 images: used the larger, images/0.jpg (24 x 20) instead of "
        "Augmented/0.jpg (12 x 10)"
    ]


def test_of_files_with_equal_content_or_pixels_the_first_is_used(tmp_path):
    path = write_image(tmp_path / "b/a.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a.png").write_bytes(path.read_bytes())
    with Image.open(path) as image:
        image.save(tmp_path / "c.bmp")
        image.save(tmp_path / "a.bmp")
    matches = match_images(["a"], list_folder(tmp_path))
    assert matches.paths == [str(tmp_path / "a.bmp")]
    assert matches.notes == []


def test_files_for_an_id_with_the_same_size_and_different_pixels_are_refused(tmp_path):
    write_image(tmp_path / "flipped/a.png", 1)
    write_image(tmp_path / "images/a.png", 2)
    with pytest.raises(DataError, match=r"named a, received flipped/a\.png and images/a\.png"):
        match_images(["a"], list_folder(tmp_path))


def test_masks_of_lesions_are_found_by_the_id_of_their_image(tmp_path):
    for name in ("ä", "b", "c"):
        write_image(tmp_path / f"images/{name}.jpg")
    names = (unicodedata.normalize("NFD", "Masks/ä.png"), "Masks/b_segmentation.png")
    paths = [str(write_mask(tmp_path / name)) for name in names]
    write_mask(tmp_path / "Masks/c_attribute_globules.png")
    assert find_masks(tmp_path) == {"ä": paths[0], "b": paths[1]}


def test_images_in_folders_are_sorted_and_files_taken_as_they_are(tmp_path):
    for name in ("b/two.JPG", "b/one.png", "b/c/three.jpeg", "b/notes.txt", "alone.xyz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = find_images([tmp_path / "alone.xyz", tmp_path / "b"])
    assert [path[len(str(tmp_path)) + 1 :] for path in found] == [
        "alone.xyz",
        "b/c/three.jpeg",
        "b/one.png",
        "b/two.JPG",
    ]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="found none"):
        find_images([tmp_path])
    write_mask(tmp_path / "a_mask.png")
    with pytest.raises(DataError, match=r"found only 1 segmentation mask, such as a_mask\.png"):
        find_images([tmp_path])


def test_masks_in_a_folder_are_ignored_with_a_warning(tmp_path):
    image = write_image(tmp_path / "a.jpg")
    write_mask(tmp_path / "a_segmentation.png")
    with pytest.warns(DataWarning, match="ignored 1 segmentation mask, such as a_seg"):
        assert find_images([tmp_path]) == [str(image)]


def test_a_pattern_is_expanded_where_the_shell_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d/b.jpg", "d/a.jpg", "d/c.png", "d/e/f.jpg"):
        write_image(Path(name))
    assert find_images(["d/*.jpg"]) == ["d/a.jpg", "d/b.jpg"]
    assert find_images(["d/[ac].*"]) == ["d/a.jpg", "d/c.png"]
    assert find_images(["d/**/*.jpg"]) == ["d/a.jpg", "d/b.jpg", "d/e/f.jpg"]
    with pytest.raises(DataError, match=r"match d/\*\.bmp, found none"):
        find_images(["d/*.bmp"])


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a[1].jpg", "a1.jpg", "a*.jpg"):
        write_image(Path(name))
    assert find_images(["a[1].jpg", "a*.jpg"]) == ["a[1].jpg", "a*.jpg"]


def test_what_systems_leave_in_folders_is_passed_over(tmp_path):
    for name in ("a.jpg", "._a.jpg", "__MACOSX/b.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find_images([tmp_path]) == [str(tmp_path / "a.jpg")]
    folder = list_folder(tmp_path)
    assert (folder.images, folder.tables) == ([str(tmp_path / "a.jpg")], [])


def test_a_downsampled_image_is_found_under_both_names_unless_each_has_a_file(tmp_path):
    for name in ("a_downsampled.jpg", "b.jpg", "c.jpg", "c_downsampled.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    folder = list_folder(tmp_path)

    def found(*image_ids: str) -> list[str | None]:
        paths = match_images(image_ids, folder).paths
        return [path and Path(path).name for path in paths]

    assert found("A", "b_Downsampled.jpg") == ["a_downsampled.jpg", "b.jpg"]
    assert found("c", "c_downsampled") == ["c.jpg", "c_downsampled.jpg"]
    assert found("a", "a_downsampled") == [None, "a_downsampled.jpg"]
    assert found("d", "b", "b_downsampled") == [None, "b.jpg", None]
