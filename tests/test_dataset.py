"""Reading the labels of a training and of an evaluation: leaks, given splits, other classes."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from config import EvaluateConfig
from data import DataError, DataWarning
from data.ham10000 import CLASS_NAMES, MALIGNANT
from data.known import count_known
from models import bundle
from models.classifier import Classifier
from models.description import Description
from models.factory import build_model
from training import TrainingError
from training.dataset import read_labeled_images
from training.evaluation import predict
from training.labels import read_labels
from training.selection import select, select_images, select_out_of_fold
from training.settings import build_train_config


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data_dir(tmp_path) -> Path:
    """A data set of 60 images, each of its own lesion, in the layout of HAM10000."""
    return write_table(tmp_path / "data", write_image, "png")


def write_table(root: Path, write, suffix: str) -> Path:
    """Write 60 images and their table."""
    names = [f"ISIC_{i:07d}" for i in range(60)]
    for i, name in enumerate(names):
        write(root / f"{name}.{suffix}", i)
    table = pd.DataFrame({"image_id": names, "lesion_id": [f"HAM_{i:07d}" for i in range(60)]})
    table["dx"] = [CLASS_NAMES[i % 7] for i in range(60)]
    table.to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


def write_scene(path: Path, number: int, *, quality: int = 95, size: int = 96) -> None:
    """Write an image that is smooth enough to be compressed and scaled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    image.save(path, quality=quality)


def add_copy(root: Path, number: int, *, near: bool = False) -> None:
    """Store an image a second time, under another id and another lesion.

    Args:
        root: of the data set.
        number: of the image.
        near: whether to compress it again, so that its pixels differ.
    """
    original, copy = f"ISIC_{number:07d}", f"ISIC_{number:07d} (1)"
    if near:
        Image.open(root / f"{original}.jpg").save(root / f"{copy}.jpg", quality=60)
    else:
        shutil.copy(root / f"{original}.png", root / f"{copy}.png")
    table = pd.read_csv(root / "HAM10000_metadata.csv")
    row = table[table["image_id"] == original].assign(image_id=copy, lesion_id=f"new {number}")
    pd.concat([table, row]).to_csv(root / "HAM10000_metadata.csv", index=False)


@pytest.fixture
def scenes_dir(tmp_path) -> Path:
    """As `data_dir`, with images of which near-duplicates can be made."""
    return write_table(tmp_path / "scenes", write_scene, "jpg")


def read(root: Path, **flags) -> pd.DataFrame:
    settings = build_train_config({"model": "sequential", "data_dir": str(root), **flags})
    return read_labeled_images(settings).frame


def describe(frame: pd.DataFrame) -> Description:
    """Return the description of a model trained on a split."""
    from data.fingerprints import pack_hashes

    fields = {}
    for split, name in (("train", "train"), ("val", "validation")):
        rows = frame[frame["split"] == split]
        fields[f"{name}_image_ids"] = tuple(rows["image_id"])
        fields[f"{name}_lesion_ids"] = tuple(rows["lesion_id"])
        fields[f"{name}_patient_ids"] = tuple(rows.get("patient_id", ()))
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
        "excluded 2 of 14 images, since the model was trained or validated on them: 2 by pixels\n"
    )


@pytest.mark.parametrize("split", ["test", "all", "val"])
def test_images_of_unknown_lesions_are_grouped_by_duplicates_in_an_evaluation(scenes_dir, split):
    add_copy(scenes_dir, 3, near=True)
    original, copy = "ISIC_0000003", "ISIC_0000003 (1)"
    shutil.copy(scenes_dir / "ISIC_0000005.jpg", scenes_dir / "same.jpg")
    table = pd.read_csv(scenes_dir / "HAM10000_metadata.csv")
    row = table[table["image_id"] == "ISIC_0000005"].assign(image_id="same")
    table = pd.concat([table, row])
    # Only two images still have a lesion_id, that of each other.
    table["lesion_id"] = np.where(table["image_id"].isin(["ISIC_0000007", "ISIC_0000014"]), "L", "")
    table.to_csv(scenes_dir / "HAM10000_metadata.csv", index=False)
    known = ["none"] if split != "val" else table["image_id"].tolist()
    description = Description(
        model="none", class_names=CLASS_NAMES, image_size=32, validation_image_ids=tuple(known)
    )
    with pytest.warns(DataWarning, match="no lesion_id"):
        frame = select_images(str(scenes_dir), split, description)
    assert len(frame) == 62
    group = frame.set_index("image_id")["group"]
    assert group[original] == group[copy]
    assert group["ISIC_0000005"] == group["same"]
    assert group["ISIC_0000007"] == group["ISIC_0000014"] == "L"
    assert group.nunique() == 59
    assert frame["pixel_hash"].nunique() == 61


@pytest.mark.usefixtures("shallow_baseline")
def test_an_evaluation_resamples_groups_where_lesions_are_unknown(scenes_dir):
    add_copy(scenes_dir, 3, near=True)
    table = pd.read_csv(scenes_dir / "HAM10000_metadata.csv").drop(columns="lesion_id")
    table.to_csv(scenes_dir / "HAM10000_metadata.csv", index=False)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    with pytest.warns(DataWarning, match="no lesion_id"):
        selection = select(Classifier(model), str(scenes_dir), "all")
    found = predict(selection, str(scenes_dir), EvaluateConfig(model_path=("m",)))
    assert found.evaluation.lesion_ids == found.frame["group"].tolist()
    assert len(set(found.evaluation.lesion_ids)) == len(found.frame) - 1 == 60


def test_a_renamed_training_image_is_counted_among_all_images(data_dir):
    before = read(data_dir)
    description = describe(before)
    known = before["split"] != "test"
    name = before.loc[before["split"] == "train", "image_id"].iloc[0]
    add_copy(data_dir, int(name.removeprefix("ISIC_")))
    frame = select_images(str(data_dir), "all", description)
    assert len(frame) == 61
    assert count_known(frame, description) == known.sum() + 1


def test_the_folds_of_one_split_are_grouped_together(scenes_dir):
    add_copy(scenes_dir, 3, near=True)
    table = pd.read_csv(scenes_dir / "HAM10000_metadata.csv").drop(columns="lesion_id")
    table.to_csv(scenes_dir / "HAM10000_metadata.csv", index=False)
    ids = table["image_id"].tolist()
    folds = [
        Description(
            model="none", class_names=CLASS_NAMES, image_size=32, validation_image_ids=tuple(names)
        )
        for names in (ids[:40], ids[40:])
    ]
    with pytest.warns(DataWarning, match="no lesion_id"):
        frames = select_out_of_fold(str(scenes_dir), folds)
    assert [frame["image_id"].tolist() for frame in frames] == [ids[:40], ids[40:]]
    groups = pd.concat(frames).set_index("image_id")["group"]
    assert groups["ISIC_0000003"] == groups["ISIC_0000003 (1)"]
    assert groups.nunique() == 60


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


def test_near_duplicates_of_one_data_set_stay_in_one_split(scenes_dir, capsys):
    before = read(scenes_dir).set_index("image_id")["split"]
    assert "near-duplicates" not in capsys.readouterr().out
    for number in range(0, 60, 4):
        add_copy(scenes_dir, number, near=True)
    frame = read(scenes_dir)
    assert "\n  15 pairs of near-duplicates joined\n" in capsys.readouterr().out
    assert frame["lesion_id"].nunique() == 75
    assert frame["group"].nunique() == 60
    assert frame["pixel_hash"].nunique() == 75
    assert frame.groupby("group")["split"].nunique().max() == 1
    assert set(before) == set(frame["split"]) == {"train", "val", "test"}


def test_a_near_duplicate_of_a_training_image_is_no_test_image(scenes_dir, capsys):
    frame = read(scenes_dir)
    description = describe(frame)
    originals = frame.groupby("split").head(1).set_index("split")["image_id"]
    for image_id in originals:
        add_copy(scenes_dir, int(image_id[5:]), near=True)
    # Another image of the lesion of such a copy.
    write_scene(scenes_dir / "other.jpg", 99)
    table = pd.read_csv(scenes_dir / "HAM10000_metadata.csv")
    row = table[table["image_id"] == f"{originals['train']} (1)"].assign(image_id="other")
    pd.concat([table, row]).to_csv(scenes_dir / "HAM10000_metadata.csv", index=False)
    capsys.readouterr()
    selected = select_images(str(scenes_dir), "test", description)
    test_images = frame.loc[frame["split"] == "test", "image_id"]
    assert set(selected["image_id"]) == {*test_images, f"{originals['test']} (1)"}
    assert capsys.readouterr().err == (
        f"excluded 3 of {len(test_images) + 4} images, since the model was trained or validated on "
        "them: 2 by near-duplicates, 1 of the same lesions\n"
    )
    assert selected["group"].tolist() == selected["lesion_id"].tolist()
    # Nothing is excluded from the other splits.
    assert len(select_images(str(scenes_dir), "all", description)) == 64
    train = select_images(str(scenes_dir), "train", description)
    assert set(train["image_id"]) == set(frame.loc[frame["split"] == "train", "image_id"])


def test_near_duplicates_across_a_given_split_are_counted(scenes_dir):
    for number in (0, 1):
        add_copy(scenes_dir, number, near=True)
    table = pd.read_csv(scenes_dir / "HAM10000_metadata.csv")
    table["split"] = ["train"] * 40 + ["val"] * 10 + ["test"] * 12
    table.to_csv(scenes_dir / "HAM10000_metadata.csv", index=False)
    with pytest.warns(
        DataWarning, match=r"^2 validation or test images of the split .* or are cop"
    ):
        assert read(scenes_dir)["split"].tolist() == table["split"].tolist()


def test_extra_images_near_to_validation_or_test_stay_out_of_training(scenes_dir, tmp_path, capsys):
    frame = read(scenes_dir)
    extra = tmp_path / "extra"
    for split, rows_of_split in frame.groupby("split"):
        row = rows_of_split.iloc[0]
        (extra / row["label"]).mkdir(parents=True, exist_ok=True)
        path = extra / row["label"] / f"{split}.jpg"
        Image.open(row["path"]).transpose(Image.Transpose.ROTATE_90).save(path, quality=70)
    for number in range(90, 94):
        write_scene(extra / "nv" / f"new{number}.jpg", number)
    capsys.readouterr()
    with pytest.warns(DataWarning, match="no lesion_id"):
        merged = read(scenes_dir, extra_data_dir=(str(extra),))
    added = merged[60:].set_index("image_id")
    assert set(added.index) == {"train", *(f"new{number}" for number in range(90, 94))}
    assert (added["source"] == "extra").all()
    # Some go to validation, but not the near-duplicate of a training image.
    assert added.loc["train", "split"] == "train"
    assert sorted(added["split"]) == ["train"] * 4 + ["val"]
    assert merged["group"].notna().all()
    printed = capsys.readouterr().out
    assert "added: 5 of 7 images, 4 to the train and 1 to the validation split" in printed
    assert "0 by pixels, 2 by near-duplicates, 0 of the same lesions" in printed


def train_on_copies(before: pd.DataFrame, splits: tuple[str, ...], tmp_path: Path):
    """Write a data set of copies of images, one of each split, and a model that was trained on it.

    Returns:
        The names of the images, and the paths of both.
    """
    copied = [before.index[before["split"] == split][0] for split in splits]
    earlier, path = tmp_path / "earlier", tmp_path / "model.keras"
    (earlier / "mel").mkdir(parents=True)
    for name in copied:
        Image.open(before.loc[name, "path"]).save(earlier / f"mel/{name}-copy.jpg", quality=60)
    model = build_model("sequential", image_size=32, class_names=CLASS_NAMES)
    known = tuple(f"{name}-copy" for name in copied)
    bundle.update_description(model, malignant=MALIGNANT, train_image_ids=known)
    bundle.save_model(model, path)
    return copied, str(earlier), str(path)


@pytest.mark.usefixtures("shallow_baseline")
def test_a_near_duplicate_of_what_the_initial_model_knows_neither_validates_nor_tests(
    scenes_dir, tmp_path, capsys
):
    before = read(scenes_dir).set_index("image_id")
    copied, earlier, path = train_on_copies(before, ("train", "val", "test"), tmp_path)
    with pytest.warns(DataWarning):
        frame = read(scenes_dir, extra_data_dir=(earlier,), init_from=path)
    split = frame.set_index("image_id")["split"]
    assert set(split[copied]) == {"train"}
    assert "moved 2 images to the train split, since --init_from was tr" in capsys.readouterr().out
    others = before["split"].drop(copied)
    assert split[others.index].tolist() == others.tolist()


def test_a_lesion_that_one_data_set_shows_to_be_a_test_lesion_is_excluded_from_the_next(
    scenes_dir, tmp_path, capsys
):
    before = read(scenes_dir).set_index("image_id")
    tested = before.index[before["split"] == "test"][0]
    # A copy of the test image, which names its lesion, and in another folder an image of that.
    for folder, name in (("one", "copy"), ("two", "later")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(
            f"image,dx,lesion_id\n{name},mel,IL_7\nx{folder},nv,\n"
        )
        write_scene(tmp_path / folder / f"x{folder}.jpg", 200 + len(name))
    Image.open(before.loc[tested, "path"]).save(tmp_path / "one/copy.jpg", quality=60)
    write_scene(tmp_path / "two/later.jpg", 300)
    with pytest.warns(DataWarning, match="no lesion_id"):
        merged = read(scenes_dir, extra_data_dir=(str(tmp_path / "one"), str(tmp_path / "two")))
    assert set(merged["image_id"]) - set(before.index) == {"xone", "xtwo"}
    assert set(merged["split"]) == {"train", "val", "test"}
    printed = capsys.readouterr().out
    assert "0 by pixels, 1 by near-duplicates" in printed
    assert "1 by image or lesion id, 0 by pixels, 0 by near-duplicates" in printed


@pytest.mark.usefixtures("shallow_baseline")
@pytest.mark.parametrize(("split", "name"), [("val", "validation"), ("test", "test")])
def test_a_teacher_of_near_duplicates_of_validation_or_test_images_is_refused(
    scenes_dir, tmp_path, split, name
):
    before = read(scenes_dir).set_index("image_id")
    _, earlier, path = train_on_copies(before, ("train", split), tmp_path)
    message = f"--teacher: expected a teacher that was not trained on {name} images, .* 1 of them"
    with pytest.warns(DataWarning), pytest.raises(TrainingError, match=message):
        read(scenes_dir, extra_data_dir=(earlier,), teacher=(path,))


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


def test_an_extra_data_set_is_compared_with_the_one_before(scenes_dir, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    before = read(scenes_dir)
    held_out = before.loc[before["split"] == "test", "path"].iloc[0]
    for i in range(31):
        write_scene(first / f"mel/new{i:02d}.jpg", 200 + i)
    # The first one is left out, so that those after it move up.
    Image.open(held_out).save(first / "mel/new00.jpg", quality=60)
    with pytest.warns(DataWarning, match="no lesion_id"):
        once = read(scenes_dir, extra_data_dir=(str(first),))
    added = once[once["data_set"] == "first"]
    assert "new00" not in set(added["image_id"])
    (second / "mel").mkdir(parents=True)
    for split in ("train", "val"):
        path = added.loc[added["split"] == split, "path"].iloc[0]
        Image.open(path).save(second / f"mel/near-{split}.jpg", quality=60)
    with pytest.warns(DataWarning, match="no lesion_id"):
        twice = read(scenes_dir, extra_data_dir=(str(first), str(second)))
    splits = twice[twice["data_set"] == "second"].set_index("image_id")["split"]
    assert splits.to_dict() == {"near-train": "train"}


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
