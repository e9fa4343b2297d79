"""Near-duplicates in a training and an evaluation: in which split they are, who knows them."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from written_data import add_copy, describe, read, write_scene, write_table

from config import EvaluateConfig
from data import DataWarning
from data.ham10000 import CLASS_NAMES, MALIGNANT
from models import bundle
from models.classifier import Classifier
from models.description import Description
from models.factory import build_model
from training import TrainingError
from training.evaluation import predict
from training.selection import select, select_images, select_out_of_fold


@pytest.fixture
def scenes_dir(tmp_path) -> Path:
    """As `data_dir`, with images of which near-duplicates can be made."""
    return write_table(tmp_path / "scenes", write_scene, "jpg")


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
