"""The made-up data set: its layout, its repeatability, and that it appears whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from data import sample
from data.ham10000 import CLASS_NAMES
from data.sample import main, write_sample_dataset

IMAGES_PER_CLASS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("written") / "sample"
    return write_sample_dataset(target, images_per_class=IMAGES_PER_CLASS, seed=3)


@pytest.fixture(scope="module")
def table(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "HAM10000_metadata.csv")


def read_all(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_layout_is_that_of_ham10000(folder, table):
    assert list(table.columns) == [
        *("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    ]
    total = IMAGES_PER_CLASS * len(CLASS_NAMES)
    assert table["image_id"].tolist() == [f"ISIC_{9_000_000 + k}" for k in range(total)]
    halves = [
        {path.stem for path in (folder / f"HAM10000_images_part_{part}").iterdir()}
        for part in (1, 2)
    ]
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    assert sorted(halves[0] | halves[1]) == table["image_id"].tolist()
    assert len(read_all(folder)) == total + 1


def test_every_class_has_the_images_asked_for(table):
    assert table["dx"].value_counts().to_dict() == dict.fromkeys(CLASS_NAMES, IMAGES_PER_CLASS)


def test_order_says_nothing_about_the_class(table):
    repeats = (table["dx"] == table["dx"].shift()).sum()
    assert repeats < len(table) / 2


def test_metadata_uses_the_words_of_ham10000(table):
    assert set(table["dx_type"]) <= {"histo", "follow_up", "consensus", "confocal"}
    assert set(table["sex"]) <= {"male", "female", "unknown"}
    ages = table["age"].dropna()
    assert len(ages) > 0
    assert (ages % 5 == 0).all()
    assert ages.between(0, 90).all()


def test_photographs_of_a_lesion_share_all_but_the_image(table):
    lesions = table.groupby("lesion_id")
    assert lesions.size().between(1, 3).all()
    assert (lesions.size() > 1).any()
    shared = ["dx", "dx_type", "age", "sex", "localization"]
    assert (lesions[shared].nunique(dropna=False) == 1).all(axis=None)


def test_pictures_are_small_rgb_jpegs_and_all_different(folder):
    paths = sorted(folder.rglob("*.jpg"))
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (200, 150))
            # A flat picture would mean that nothing was painted.
            assert max(high - low for low, high in image.getextrema()) > 40
    assert len({path.read_bytes() for path in paths}) == len(paths)


def test_same_seed_gives_same_bytes_and_another_seed_others(folder, tmp_path):
    same = write_sample_dataset(tmp_path / "same", images_per_class=IMAGES_PER_CLASS, seed=3)
    assert read_all(same) == read_all(folder)
    other = write_sample_dataset(tmp_path / "other", images_per_class=IMAGES_PER_CLASS, seed=4)
    pictures = [
        {data for name, data in read_all(root).items() if name.endswith(".jpg")}
        for root in (folder, other)
    ]
    assert not pictures[0] & pictures[1]


def test_larger_data_set_has_the_pictures_of_a_smaller_one(folder, tmp_path):
    small = write_sample_dataset(tmp_path / "small", images_per_class=2, seed=3)
    assert {path.read_bytes() for path in small.rglob("*.jpg")} <= set(read_all(folder).values())


@pytest.mark.parametrize("parents", ["", "new/er"])
def test_empty_or_missing_folder_is_filled(tmp_path, parents):
    target = tmp_path / parents / "sample"
    if not parents:
        target.mkdir()
    assert write_sample_dataset(target, images_per_class=1) == target.resolve()
    assert len(read_all(target)) == len(CLASS_NAMES) + 1
    assert [path.name for path in target.parent.iterdir()] == ["sample"]


def test_folder_with_files_is_refused_and_left_alone(tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="new or empty folder") as caught:
        write_sample_dataset(target, images_per_class=1)
    assert "\n" not in str(caught.value)
    assert read_all(tmp_path) == {"mine/notes.txt": b"keep"}


def test_file_in_the_way_is_refused(tmp_path):
    target = tmp_path / "mine"
    target.write_text("keep")
    with pytest.raises(FileExistsError):
        write_sample_dataset(target, images_per_class=1)
    assert read_all(tmp_path) == {"mine": b"keep"}


@pytest.mark.parametrize("parents", ["", "new"])
def test_failure_midway_leaves_nothing_behind(tmp_path, monkeypatch, parents):
    photograph, taken = sample.photograph, []

    def fail_at_the_fourth(rng, lesion):
        taken.append(lesion)
        if len(taken) == 4:
            raise OSError("no space left")
        return photograph(rng, lesion)

    monkeypatch.setattr(sample, "photograph", fail_at_the_fourth)
    with pytest.raises(OSError, match="no space left"):
        write_sample_dataset(tmp_path / parents / "sample", images_per_class=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("images_per_class", "seed"), [(0, 0), (-3, 0), (1, -1)])
def test_impossible_numbers_are_refused(tmp_path, images_per_class, seed):
    with pytest.raises(ValueError, match="must be at least"):
        write_sample_dataset(tmp_path / "x", images_per_class=images_per_class, seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_command_writes_and_says_what(tmp_path):
    target = tmp_path / "sample"
    command = [sys.executable, "-m", "data.sample", "--output_dir", str(target)]
    done = subprocess.run(
        [*command, "--images_per_class", "1"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert all(part in done.stdout for part in ("7 made-up images", "7 lesions", str(target)))
    assert len(read_all(target)) == len(CLASS_NAMES) + 1


@pytest.mark.parametrize(
    "bad",
    [
        ["--images_per_class", "0"],
        ["--images_per_class", "many"],
        ["--images_per_class", "1", "--seed", "-1"],
        ["--images_per_class", "1", "--colour", "red"],
    ],
)
def test_bad_argument_exits_2_with_one_line(tmp_path, capsys, bad):
    with pytest.raises(SystemExit) as caught:
        main(["--output_dir", str(tmp_path / "sample"), *bad])
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_command_refuses_a_folder_with_files(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(SystemExit) as caught:
        main(["--output_dir", str(tmp_path), "--images_per_class", "1"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert read_all(tmp_path) == {"notes.txt": b"keep"}
