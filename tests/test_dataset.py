"""Reading the labels of a training and of an evaluation: leaks, given splits, other classes."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
from written_data import add_copy, describe, read, write_image, write_table

from data import DataError, DataWarning
from data.ham10000 import CLASS_NAMES, MALIGNANT
from data.known import count_known
from models import bundle
from models.description import Description
from models.factory import build_model
from training.dataset import read_labeled_images
from training.labels import read_labels
from training.selection import select_images
from training.settings import build_train_config


@pytest.fixture
def data_dir(tmp_path) -> Path:
    """A data set of 60 images, each of its own lesion, in the layout of HAM10000."""
    return write_table(tmp_path / "data", write_image, "png")


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
        "excluded 2 of 14 images, since the model was trained or validated on them: 2 by pixels\n"
    )


def test_a_renamed_training_image_is_counted_among_all_images(data_dir):
    before = read(data_dir)
    description = describe(before)
    known = before["split"] != "test"
    name = before.loc[before["split"] == "train", "image_id"].iloc[0]
    add_copy(data_dir, int(name.removeprefix("ISIC_")))
    frame = select_images(str(data_dir), "all", description)
    assert len(frame) == 61
    assert count_known(frame, description) == known.sum() + 1


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


def test_other_images_of_the_same_names_are_pointed_out(data_dir, tmp_path):
    description = describe(read(data_dir))
    other = write_table(tmp_path / "other", lambda path, i: write_image(path, 500 + i), "png")
    names = {
        path: path.with_name(path.name.replace("ISIC_00", "X")) for path in other.glob("*.png")
    }
    for path, new in names.items():
        if not path.stem.endswith("7"):
            path.rename(new)
    table = pd.read_csv(other / "HAM10000_metadata.csv")
    keep = table["image_id"].str.endswith("7")
    for column in ("image_id", "lesion_id"):
        renamed = table[column].str.replace("ISIC_00", "X").str.replace("HAM", "Y")
        table[column] = table[column].where(keep & (column == "image_id"), renamed)
    table.to_csv(other / "HAM10000_metadata.csv", index=False)
    known = {*description.train_image_ids, *description.validation_image_ids}
    count = sum(name in known for name in table["image_id"])
    assert count > 0
    with pytest.warns(DataWarning, match=f"^{count} of 60 images have the name of an image"):
        frame = select_images(str(other), "test", description)
    assert len(frame) == 60 - count


def write_patients(root: Path, patients: list[str]) -> Path:
    """Write a table of images, each of a lesion of its own, with patients and two own classes."""
    names = [f"image{i:03d}" for i in range(len(patients))]
    for i, name in enumerate(names):
        write_image(root / f"{name}.png", i)
    table = pd.DataFrame({"image_id": names, "patient_id": patients})
    table["lesion_id"] = [f"lesion{i}" for i in range(len(names))]
    table["diagnosis"] = ["wart" if i % 2 else "corn" for i in range(len(names))]
    table.to_csv(root / "labels.csv", index=False)
    return root


@pytest.mark.usefixtures("shallow_baseline")
def test_extra_images_that_the_initial_model_knows_are_for_training(data_dir, tmp_path, capsys):
    extra = tmp_path / "extra"
    rows = [(f"extra{i}", f"L{i}", CLASS_NAMES[i % 7]) for i in range(70)]
    for i, (name, *_) in enumerate(rows):
        write_image(extra / f"{name}.png", 100 + i)
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"])
    table.to_csv(extra / "HAM10000_metadata.csv", index=False)
    known = [name for name, *_ in rows[::2]]
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    bundle.update_description(model, malignant=MALIGNANT, train_image_ids=tuple(known))
    bundle.save_model(model, tmp_path / "model.keras")

    def split(**flags) -> pd.Series:
        frame = read(data_dir, extra_data_dir=(str(extra),), **flags)
        return frame[frame["data_set"] == "extra"].set_index("image_id")["split"]

    assert "val" in set(split()[known])  # otherwise there is nothing to test
    capsys.readouterr()
    with pytest.warns(DataWarning, match="has no pixel hashes"):
        found = split(init_from=str(tmp_path / "model.keras"))
    assert set(found[known]) == {"train"}
    assert "val" in set(found)
    assert "  in the train split, since --init_from knows them: " in capsys.readouterr().out


def test_the_images_of_a_patient_stay_in_one_split(tmp_path, capsys):
    patients = [f"P{i // 5}" for i in range(100)]
    frame = read(write_patients(tmp_path / "clinic", patients), classes="data")
    assert frame.groupby("patient_id")["split"].nunique().max() == 1
    assert frame["group"].nunique() == 20
    assert set(frame["split"]) == {"train", "val", "test"}
    printed = capsys.readouterr().out
    assert "\n  20 patients, each with all images in one split\n" in printed
    assert "\n  2 classes, images: corn 50, wart 50; malignant: unknown\n" in printed


def test_an_image_of_a_known_patient_is_no_test_image(tmp_path, capsys):
    root = write_patients(tmp_path / "clinic", [f"P{i // 5}" for i in range(100)])
    frame = read(root, classes="data")
    description = dataclasses.replace(describe(frame), class_names=("corn", "wart"))
    row = frame[frame["split"] == "train"].iloc[0]
    write_image(root / "new.png", 999)
    with (root / "labels.csv").open("a") as file:
        file.write(f"new,{row['patient_id']},new lesion,wart\n")
    capsys.readouterr()
    selected = select_images(str(root), "test", description)
    assert set(selected["image_id"]) == set(frame.loc[frame["split"] == "test", "image_id"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "excluded" in line]
    assert line.endswith("on them: 1 by patient id")


def test_classes_come_from_the_data_a_list_or_ham10000(tmp_path, capsys):
    root = write_patients(tmp_path / "clinic", [""] * 40)
    settings = build_train_config({"model": "sequential", "data_dir": str(root)})

    def classes(value: str):
        return read_labeled_images(dataclasses.replace(settings, classes=value)).classes

    assert classes("data").names == ("corn", "wart")
    (tmp_path / "list.txt").write_text("wart,verruca,malignant,corn\nother,,benign\n")
    with pytest.raises(DataError, match=r"at least two classes in .*, received wart only"):
        classes(str(tmp_path / "list.txt"))
    (tmp_path / "list.csv").write_text("name,description,malignant\nwart,a wart,yes\ncorn,,no\n")
    scheme = classes(str(tmp_path / "list.csv"))
    assert (scheme.names, scheme.malignant) == (("wart", "corn"), ("wart",))
    assert "2 classes, images: wart 20, corn 20; malignant: wart" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"received 20 corn, 20 wart; or .* with --classes data"):
        classes("ham10000")
    with pytest.raises(
        DataError, match=r"^--classes: expected ham10000, data, or a file .* x\.txt"
    ):
        classes("x.txt")


def test_a_model_is_evaluated_on_the_classes_that_it_has_in_common(tmp_path, capsys):
    for i in range(12):
        write_image(tmp_path / "data" / ("Nevus", "melanoma", "wart")[i % 3] / f"{i}.png", i)
    description = Description(model="none", class_names=("MEL", "NV"), image_size=32)
    with pytest.warns(DataWarning, match="no lesion_id"):
        frame = select_images(str(tmp_path / "data"), "all", description)
    assert frame["label"].value_counts().to_dict() == {"NV": 4, "MEL": 4}
    assert "skipped 4 of 12 images, of other classes: 4 'wart'" in capsys.readouterr().err
    other = dataclasses.replace(description, class_names=("x", "y"))
    with (
        pytest.warns(DataWarning, match="no lesion_id"),
        pytest.raises(DataError, match=r"^--data_dir: .* x, y.* wart"),
    ):
        select_images(str(tmp_path / "data"), "all", other)


def test_without_images_that_a_model_does_not_know_the_way_on_is_named(data_dir):
    frame = read(data_dir, test_fraction=0.0)
    with pytest.raises(DataError, match=r"^--split: .*the split 'all'.*data\.download --test_set"):
        select_images(str(data_dir), "test", describe(frame))
