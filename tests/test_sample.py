"""The synthetic data set: its layout, that it repeats, and that it appears whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from data import DataError, sample
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


def test_the_layout_is_that_of_ham10000(folder, table):
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


def test_each_class_has_the_requested_number_of_images(table):
    assert table["dx"].value_counts().to_dict() == dict.fromkeys(CLASS_NAMES, IMAGES_PER_CLASS)


def test_the_order_reveals_nothing_about_the_class(table):
    repeats = (table["dx"] == table["dx"].shift()).sum()
    assert repeats < len(table) / 2


def test_the_metadata_have_the_values_of_ham10000(table):
    assert set(table["dx_type"]) <= {"histo", "follow_up", "consensus", "confocal"}
    assert set(table["sex"]) <= {"male", "female", "unknown"}
    ages = table["age"].dropna()
    assert len(ages) > 0
    assert (ages % 5 == 0).all()
    assert ages.between(0, 90).all()


def test_images_of_a_lesion_share_their_metadata(table):
    lesions = table.groupby("lesion_id")
    assert lesions.size().between(1, 3).all()
    assert (lesions.size() > 1).any()
    shared = ["dx", "dx_type", "age", "sex", "localization"]
    assert (lesions[shared].nunique(dropna=False) == 1).all(axis=None)


def test_images_are_small_rgb_jpegs_and_all_different(folder):
    paths = sorted(folder.rglob("*.jpg"))
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (200, 150))
            # A uniform image would mean that nothing was drawn.
            assert max(high - low for low, high in image.getextrema()) > 40
    assert len({path.read_bytes() for path in paths}) == len(paths)


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_images(folder, tmp_path):
    same = write_sample_dataset(tmp_path / "same", images_per_class=IMAGES_PER_CLASS, seed=3)
    assert read_all(same) == read_all(folder)
    other = write_sample_dataset(tmp_path / "other", images_per_class=IMAGES_PER_CLASS, seed=4)
    images = [
        {data for name, data in read_all(root).items() if name.endswith(".jpg")}
        for root in (folder, other)
    ]
    assert not images[0] & images[1]


def test_a_larger_data_set_contains_the_images_of_a_smaller_one(folder, tmp_path):
    small = write_sample_dataset(tmp_path / "small", images_per_class=2, seed=3)
    assert {path.read_bytes() for path in small.rglob("*.jpg")} <= set(read_all(folder).values())


@pytest.mark.parametrize("parents", ["", "new/er"])
def test_an_empty_or_missing_folder_is_filled(tmp_path, parents):
    target = tmp_path / parents / "sample"
    if not parents:
        target.mkdir()
    assert write_sample_dataset(target, images_per_class=1) == target.resolve()
    assert len(read_all(target)) == len(CLASS_NAMES) + 1
    assert [path.name for path in target.parent.iterdir()] == ["sample"]


def test_a_folder_with_files_is_refused_and_left_unchanged(tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="new or empty folder") as caught:
        write_sample_dataset(target, images_per_class=1)
    assert "\n" not in str(caught.value)
    assert read_all(tmp_path) == {"mine/notes.txt": b"keep"}


def test_a_file_of_that_name_is_refused(tmp_path):
    target = tmp_path / "mine"
    target.write_text("keep")
    with pytest.raises(DataError, match="new or empty folder"):
        write_sample_dataset(target, images_per_class=1)
    assert read_all(tmp_path) == {"mine": b"keep"}


def test_a_failure_midway_leaves_nothing_behind(tmp_path, monkeypatch):
    render_image, rendered = sample.render_image, []

    def fail_at_the_fourth(rng, lesion):
        rendered.append(lesion)
        if len(rendered) == 4:
            raise OSError("no space left")
        return render_image(rng, lesion)

    monkeypatch.setattr(sample, "render_image", fail_at_the_fourth)
    with pytest.raises(OSError, match="no space left"):
        write_sample_dataset(tmp_path / "sample", images_per_class=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("images_per_class", "seed"), [(0, 0), (-3, 0), (1, -1)])
def test_numbers_that_are_too_small_are_refused(tmp_path, images_per_class, seed):
    with pytest.raises(DataError, match="should be at least"):
        write_sample_dataset(tmp_path / "x", images_per_class=images_per_class, seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_data_set_and_describes_it(tmp_path):
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
    assert all(part in done.stdout for part in ("7 synthetic images", "7 lesions", str(target)))
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
def test_a_bad_argument_is_one_line_and_exit_code_2(tmp_path, capsys, bad):
    with pytest.raises(SystemExit) as caught:
        main(["--output_dir", str(tmp_path / "sample"), *bad])
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_a_folder_with_files(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("keep")
    assert main(["--output_dir", str(tmp_path), "--images_per_class", "1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m data.sample: error: --output_dir: expected a new or empty")
    assert err.count("\n") == 1
    assert read_all(tmp_path) == {"notes.txt": b"keep"}
