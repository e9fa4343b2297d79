"""Reading the labels of a training and of an evaluation: leaks, given splits, other classes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.ham10000 import CLASS_NAMES
from models.description import Description
from training.dataset import read_labeled_images, read_labels, select_images
from training.settings import build_train_config


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data_dir(tmp_path) -> Path:
    """A data set of 60 images, each of its own lesion, in the layout of HAM10000."""
    root = tmp_path / "data"
    names = [f"ISIC_{i:07d}" for i in range(60)]
    for i, name in enumerate(names):
        write_image(root / f"{name}.png", i)
    table = pd.DataFrame({"image_id": names, "lesion_id": [f"HAM_{i:07d}" for i in range(60)]})
    table["dx"] = [CLASS_NAMES[i % 7] for i in range(60)]
    table.to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


def add_copy(root: Path, number: int) -> None:
    """Store an image a second time, under another id and another lesion."""
    original, copy = f"ISIC_{number:07d}", f"ISIC_{number:07d} (1)"
    shutil.copy(root / f"{original}.png", root / f"{copy}.png")
    table = pd.read_csv(root / "HAM10000_metadata.csv")
    row = table[table["image_id"] == original].assign(image_id=copy, lesion_id=f"new {number}")
    pd.concat([table, row]).to_csv(root / "HAM10000_metadata.csv", index=False)


def read(root: Path, **flags) -> pd.DataFrame:
    settings = build_train_config({"model": "sequential", "data_dir": str(root), **flags})
    return read_labeled_images(settings).frame


def describe(frame: pd.DataFrame) -> Description:
    """Return the description of a model trained on a split."""
    from data.duplicates import pack_hashes

    fields = {}
    for split, name in (("train", "train"), ("val", "validation")):
        rows = frame[frame["split"] == split]
        fields[f"{name}_image_ids"] = tuple(rows["image_id"])
        fields[f"{name}_lesion_ids"] = tuple(rows["lesion_id"])
        fields[f"{name}_pixel_hashes"] = pack_hashes(rows["pixel_hash"])
    return Description(model="none", class_names=CLASS_NAMES, image_size=32, **fields)


def test_a_copy_inside_a_data_set_stays_in_the_split_of_its_original(data_dir):
    for number in range(0, 60, 3):
        add_copy(data_dir, number)
    with pytest.warns(DataWarning, match=r"^40 images are identical to others"):
        frame = read(data_dir)
    assert frame.groupby("pixel_hash")["split"].nunique().max() == 1
    assert set(frame["split"]) == {"train", "val", "test"}


def test_a_copy_of_a_training_image_under_another_name_is_no_test_image(data_dir, capsys):
    frame = read(data_dir)
    description = describe(frame)
    originals = frame.groupby("split").head(1).set_index("split")["image_id"]
    for image_id in originals:
        add_copy(data_dir, int(image_id[5:]))
    capsys.readouterr()
    selected = select_images(str(data_dir), "test", description)
    assert set(selected["image_id"]) == {
        *frame.loc[frame["split"] == "test", "image_id"],
        f"{originals['test']} (1)",
    }
    assert capsys.readouterr().err == (
        "excluded 2 of 14 images: they have the pixels of training or validation images of the "
        "model, or show the lesions of such copies\n"
    )


def test_a_split_that_the_data_set_gives_is_kept_and_its_leaks_are_counted(data_dir):
    table = pd.read_csv(data_dir / "HAM10000_metadata.csv")
    table["split"] = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    table.to_csv(data_dir / "HAM10000_metadata.csv", index=False)
    assert read(data_dir)["split"].tolist() == table["split"].tolist()
    table.loc[[41, 51, 52], "lesion_id"] = table.loc[0, "lesion_id"]
    table.to_csv(data_dir / "HAM10000_metadata.csv", index=False)
    with pytest.warns(DataWarning) as caught:
        assert read(data_dir)["split"].tolist() == table["split"].tolist()
    assert [str(item.message)[:30] for item in caught if "validation or" in str(item.message)] == [
        "3 validation or test images of"
    ]


def test_classes_that_are_skipped_stop_a_training_above_one_percent(tmp_path, capsys):
    for i in range(300):
        name = "wart" if i < 3 else CLASS_NAMES[i % 7]
        write_image(tmp_path / name / f"{i}.png", i)
    with pytest.warns(DataWarning, match="no lesion_id"):
        frame, unused = read_labels(str(tmp_path), limit=0.01)
    assert (len(frame), unused) == (297, 3)
    assert capsys.readouterr().err == "skipped 3 of 300 images, of other classes: 3 'wart'\n"
    write_image(tmp_path / "corn" / "last.png", 300)
    with (
        pytest.warns(DataWarning, match="no lesion_id"),
        pytest.raises(DataError, match=r"but 4 of 301 images, of other classes: 3 'wart', 1 'corn"),
    ):
        read_labels(str(tmp_path), limit=0.01)
