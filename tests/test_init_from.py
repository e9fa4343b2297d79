"""A training that starts from a model of this project: settings, classes, images, end to end."""

import dataclasses
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import train
from config import PRESETS
from data import DataError, DataWarning
from data.classes import HAM10000, ClassScheme
from data.fingerprints import pack_hashes, unpack_hashes
from models.bundle import load_model, save_model, update_description
from models.description import Description
from models.description_checks import peek_description
from models.factory import build_model
from train import parse
from training.dataset import read_labeled_images
from training.initial import describe_images, describe_start, match_classes, respect_initial
from training.selection import select_images

pytestmark = pytest.mark.usefixtures("shallow_baseline")


def write_model(path: Path, name: str = "sequential", **fields) -> Path:
    image_size = fields.pop("image_size", 48)
    class_names = fields.pop("class_names", ("bcc", "mel", "nv"))
    model = build_model(name, image_size=image_size, class_names=class_names)
    update_description(model, **fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path)
    return path


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("m") / "model.keras", "mobilenet", image_size=64)


@pytest.fixture(scope="module")
def sequential(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("s") / "model.keras")


def test_the_model_brings_architecture_image_size_and_a_short_schedule(mobilenet, sequential):
    for given in (str(mobilenet), str(mobilenet.parent)):
        settings = parse(["--init_from", given])
        assert (settings.model, settings.image_size, settings.weights) == ("mobilenet", 64, "none")
        assert settings.init_from == given
        assert settings.fine_tune_layers == 126
        for name, value in PRESETS["init_from"].items():
            assert getattr(settings, name) == value
    settings = parse(["--init_from", str(sequential), "--epochs", "3", "--image_size", "32"])
    assert (settings.model, settings.head_epochs, settings.epochs) == ("sequential", 0, 3)
    assert settings.image_size == 32
    assert parse(["--init_from", str(mobilenet), "--model", "mobilenet"]).model == "mobilenet"
    assert parse(["--init_from", str(mobilenet), "--sample"]).image_size == 64


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "vit"], "is a model mobilenet, received --model vit; remove --model"),
        (["--weights", "imagenet"], "brings its own initial weights; remove --weights"),
        (["--weights", "none"], "brings its own initial weights; remove --weights"),
    ],
)
def test_flags_that_contradict_the_model_are_refused_at_once(mobilenet, flags, message, capsys):
    with pytest.raises(SystemExit):
        parse(["--init_from", str(mobilenet), *flags])
    assert message in capsys.readouterr().err


def test_what_is_no_model_of_this_project_is_refused_at_once(tmp_path, capsys):
    (tmp_path / "text.keras").write_text("no model")
    for given, message in {
        "text.keras": "--init_from: expected a .keras file that train.py wrote, received",
        "missing.keras": "--init_from: found no file",
        "": "--init_from: .*expected model.keras in the folder, found text.keras",
    }.items():
        with pytest.raises(SystemExit):
            parse(["--init_from", str(tmp_path / given)])
        error = capsys.readouterr().err
        assert re.search(message, error)
        assert error.count("\n") == 1
    with pytest.raises(SystemExit):
        parse(["--weights", "a.keras"])
    assert "whole model a.keras; start from it with --init_from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("new", "old", "matches"),
    [
        (("nv", "mel"), HAM10000, {"nv": "nv", "mel": "mel"}),
        (("MEL", "Nevus", "scar"), HAM10000, {"MEL": "mel", "Nevus": "nv"}),
        (("benign", "malignant"), HAM10000, {}),
        (("mel",), ClassScheme(("Melanoma", "other")), {"mel": "Melanoma"}),
        # Two classes of one diagnosis: it is not sure which.
        (("mel",), ClassScheme(("melanoma in situ", "melanoma invasive")), {}),
        (("x",), ClassScheme(("A", "B"), aliases={"X": "B"}), {"x": "B"}),
    ],
)
def test_classes_agree_by_name_alias_or_diagnosis(new, old, matches):
    assert match_classes(ClassScheme(new), old) == matches


def test_what_is_copied_is_said_in_one_line():
    line = describe_start(Path("a\x1b.keras"), "mobilenet", {"MEL": "mel", "nv": "nv"})
    assert line == "Initial weights: a?.keras (backbone; head of the classes MEL = mel, nv)"
    line = describe_start(Path("a.keras"), "sequential", {})
    assert line == "Initial weights: a.keras (all layers but the head; new head: no class agrees)"


INITIAL = Description(
    model="none",
    class_names=("a", "b"),
    image_size=32,
    train_image_ids=("t1", "t2"),
    train_lesion_ids=("T1", "T2"),
    train_patient_ids=("p1",),
    train_pixel_hashes=pack_hashes(["aa" * 8]),
    validation_image_ids=("v1", "v2"),
    validation_lesion_ids=("V1", "V2"),
    validation_patient_ids=("p2", "p3"),
    validation_pixel_hashes=pack_hashes(["bb" * 8, "cc" * 8]),
)


def test_the_new_model_knows_the_images_of_the_initial_one_too():
    rows = [
        ("n1", "N1", "", "01" * 8, "train"),
        ("V1", "v1", "P2", "bb" * 8, "val"),  # it validated the initial model, and does again
        ("n2", "N2", "p9", None, "val"),
        ("n3", "N3", "p8", "03" * 8, "test"),
    ]
    columns = ["image_id", "lesion_id", "patient_id", "pixel_hash", "split"]
    frame = pd.DataFrame(rows, columns=columns)
    fields = describe_images(frame, [INITIAL])
    assert fields["train_image_ids"] == ("n1", "t1", "t2", "v2")
    assert fields["train_lesion_ids"] == ("N1", "T1", "T2", "V2")
    assert fields["train_patient_ids"] == ("p1", "p3")
    assert unpack_hashes(fields["train_pixel_hashes"]) == {"01" * 8, "aa" * 8, "cc" * 8}
    assert fields["validation_image_ids"] == ("V1", "n2")
    assert fields["validation_lesion_ids"] == ("N2", "v1")
    assert fields["validation_patient_ids"] == ("P2", "p9")
    assert unpack_hashes(fields["validation_pixel_hashes"]) == {"bb" * 8}
    alone = describe_images(frame.drop(columns="patient_id"), [])
    assert alone["train_image_ids"] == ("n1",)
    assert alone["train_patient_ids"] == alone["validation_patient_ids"] == ()


def split_frame(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["image_id", "split"])
    return frame.assign(lesion_id=frame["image_id"], group=frame["image_id"], pixel_hash=None)


def test_moved_images_are_counted_and_a_given_split_changes_with_a_warning(capsys):
    frame = split_frame(("t1", "test"), ("t2", "val"), ("v1", "test"), ("n", "test"), ("m", "val"))
    split = respect_initial(frame, Path("m.keras"), INITIAL, is_given=False)
    assert split.tolist() == ["train", "train", "val", "test", "val"]
    line = (
        "moved 2 images to the train split and 1 from test to validation, since m.keras was "
        "trained or validated on them, or on images of their lesions or patients"
    )
    assert capsys.readouterr().out == f"  {line}\n"
    with pytest.warns(DataWarning, match=f"the data set gives is changed: {line}"):
        again = respect_initial(frame, Path("m.keras"), INITIAL, is_given=True)
    assert again.equals(split)
    unknown = split_frame(("x", "train"), ("y", "val"))
    assert respect_initial(unknown, Path("m"), INITIAL, is_given=False).tolist() == ["train", "val"]
    assert capsys.readouterr().out == ""


def test_a_training_without_validation_images_of_its_own_is_refused():
    frame = split_frame(("t1", "test"), ("t2", "val"), ("n", "test"))
    with pytest.raises(DataError, match="validation images that m was not trained on, received no"):
        respect_initial(frame, Path("m"), INITIAL, is_given=False)


def test_a_model_that_does_not_say_what_it_knows_gives_a_warning():
    frame = split_frame(("x", "train"), ("y", "val"))
    unknown = dataclasses.replace(INITIAL, train_image_ids=())
    with pytest.warns(DataWarning, match="does not say which images it was trained on"):
        respect_initial(frame, Path("m"), unknown, is_given=False)
    no_hashes = dataclasses.replace(INITIAL, train_pixel_hashes="")
    with pytest.warns(DataWarning, match="copies of its training images under other names"):
        respect_initial(frame, Path("m"), no_hashes, is_given=False)


@pytest.fixture(scope="module")
def first_run(sample_dir, tmp_path_factory) -> SimpleNamespace:
    """A model that was trained on the synthetic images with another seed, hence another split."""
    data = ["--data_dir", str(sample_dir), "--batch_size", "16"]
    argv = ["--model", "sequential", "--image_size", "32", "--epochs", "1", "--split_seed", "1"]
    folder = tmp_path_factory.mktemp("first")
    assert train.main([*argv, *data, "--output_dir", str(folder)]) == 0
    (run,) = folder.iterdir()
    return SimpleNamespace(run=run, description=peek_description(run / "model.keras"), data=data)


@pytest.mark.slow
def test_no_training_image_of_the_initial_model_tests_or_validates_the_next(
    first_run, sample_dir, tmp_path, capsys
):
    first = first_run.description
    trained = {*first.train_image_ids}
    alone = read_labeled_images(parse(["--data_dir", str(sample_dir)])).frame
    held_out = alone.loc[alone["split"] != "train", "image_id"]
    assert trained & {*held_out}  # otherwise there is nothing to test
    capsys.readouterr()
    argv = ["--init_from", str(first_run.run), "--epochs", "1", "--image_size", "40"]
    assert train.main([*argv, *first_run.data, "--output_dir", str(tmp_path / "second")]) == 0
    printed = capsys.readouterr().out
    assert "Initial weights: " in printed
    assert "head of the classes akiec, bcc, bkl, df, mel, nv, vasc)" in printed
    assert re.search(r"\n  moved \d+ images to the train split and \d+ from test to val", printed)
    assert "no lesion in two splits" in printed
    (run,) = (tmp_path / "second").iterdir()
    second = peek_description(run / "model.keras")
    table = pd.read_csv(run / "split.csv")
    images = {name: {*rows["image_id"]} for name, rows in table.groupby("split")}
    assert trained <= {*second.train_image_ids}
    assert not trained & (images["val"] | images.get("test", set()))
    assert not {*first.validation_image_ids} & images.get("test", set())
    assert not {*second.train_image_ids} & {*second.validation_image_ids}
    assert not {*second.train_lesion_ids} & {*second.validation_lesion_ids}
    known = {*first.train_image_ids, *first.validation_image_ids}
    assert known <= {*second.train_image_ids, *second.validation_image_ids}
    assert second.synthetic
    # On other images of the same data set, evaluate.py excludes all that either model knows.
    if images.get("test"):
        selected = select_images(str(sample_dir), "test", second)
        assert {*selected["image_id"]} == images["test"]


@pytest.mark.slow
def test_a_clinic_starts_from_the_weights_and_keeps_its_own_classes(
    first_run, sample_dir, tmp_path, monkeypatch, capsys
):
    # Without an optimizer step that matters, the weights stay those of the initial model.
    classes = tmp_path / "classes.csv"
    classes.write_text("melanoma,,malignant\nnevus,,benign\nother,,benign,bkl|df|vasc|akiec|bcc\n")
    argv = ["--init_from", str(first_run.run / "model.keras"), "--classes", str(classes)]
    argv += ["--epochs", "1", "--learning_rate", "0", *first_run.data, "--output_dir"]
    assert train.main([*argv, str(tmp_path / "second")]) == 0
    assert "head of the classes melanoma = mel, nevus = nv)" in capsys.readouterr().out
    (run,) = (tmp_path / "second").iterdir()
    description = peek_description(run / "model.keras")
    assert description.class_names == ("melanoma", "nevus", "other")
    assert description.malignant == ("melanoma",)
    assert description.class_aliases["bkl"] == "other"
    assert description.data_name == Path(sample_dir).name
    first, second = (load_model(path / "model.keras") for path in (first_run.run, run))
    kernels = [model.get_layer("logits").get_weights()[0] for model in (first, second)]
    ham10000 = first_run.description.class_names
    assert (kernels[0][:, ham10000.index("mel")] == kernels[1][:, 0]).all()
    assert (kernels[0][:, ham10000.index("nv")] == kernels[1][:, 1]).all()
    convolutions = [
        [layer.kernel for layer in model.layers if layer.name.startswith("conv2d")]
        for model in (first, second)
    ]
    for old, new in zip(*convolutions, strict=True):
        assert np.array_equal(old, new)


@pytest.mark.slow
def test_a_resumed_run_needs_the_initial_model_unchanged(first_run, tmp_path, monkeypatch, capsys):
    from training.callbacks import EpochLog

    def interrupt(*_):
        raise KeyboardInterrupt

    model = tmp_path / "model.keras"
    shutil.copy(first_run.run / "model.keras", model)
    argv = ["--init_from", str(model), "--epochs", "2", *first_run.data]
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_epoch_end", interrupt)
        assert train.main([*argv, "--output_dir", str(tmp_path / "second")]) == 130
    (run,) = (tmp_path / "second").iterdir()
    content = model.read_bytes()
    model.unlink()
    assert train.main(["--resume", str(run)]) == 2
    assert "--init_from: found no file" in capsys.readouterr().err
    changed = load_model(write_model(model, image_size=48))
    update_description(
        changed,
        **{
            name: getattr(first_run.description, name)
            for name in ("train_image_ids", "train_lesion_ids", "validation_image_ids")
        },
    )
    save_model(changed, model)
    assert train.main(["--resume", str(run)]) == 2
    assert "changed since" in capsys.readouterr().err
    model.write_bytes(content)
    capsys.readouterr()
    assert train.main(["--resume", str(run)]) == 0
    # The weights come from the checkpoint.
    assert "Initial weights" not in capsys.readouterr().out
