"""What a model file says about itself: read, upgraded, checked and put into words."""

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

import models.description
from config import TrainConfig
from data.fingerprints import pack_hashes, unpack_hashes
from data.ham10000 import CLASS_NAMES, MALIGNANT, SYNTHETIC_LESIONS
from data.sources import read_dataset
from models import ModelError
from models.description import (
    _OLD_MALIGNANT,
    MAX_IMAGE_SIZE,
    Description,
    are_synthetic,
    read_description,
)
from models.description_checks import check_description, peek_description

ROOT = Path(__file__).parent.parent
FULL = Description(
    "mobilenet",
    CLASS_NAMES,
    192,
    malignant=MALIGNANT,
    class_titles={"mel": "melanoma"},
    class_aliases={"MM": "mel"},
    data_name="HAM10000",
    sources={"HAM10000": 7009},
    date="2025-12-31",
    melanomas={"split": "test", "count": 1167, "missed": 52},
    train_image_ids=tuple(f"i{number}" for number in range(7009)),
    train_lesion_ids=("HAM_0000001",),
    train_patient_ids=("P1",),
    train_pixel_hashes=pack_hashes(["00ff" * 4]),
)
POINTS = {
    "malignant": {"specificity_0.90": 0.25, "sensitivity_0.95": 0},
    "melanoma": {"specificity_0.80": 1},
}
SETS = {"coverage": 0.9, "thresholds": dict.fromkeys(CLASS_NAMES, 0.25) | {"mel": 0}}
OLD = {"model": "m", "class_names": [*CLASS_NAMES], "image_size": 32, "format": 3}


def write_model(path: Path, description: object) -> Path:
    """Write the part of a `.keras` file that holds the description."""
    config = {"config": {"layers": [{}, {"config": {"description": description}}]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    return path


def test_a_description_survives_json():
    assert read_description(json.loads(json.dumps(asdict(FULL)))) == FULL
    check_description(FULL)
    assert unpack_hashes(FULL.train_pixel_hashes) == {"00ff" * 4}


def test_operating_points_and_prediction_sets_survive_json():
    description = replace(FULL, operating_points=POINTS, prediction_sets=SETS)
    check_description(description)
    assert read_description(json.loads(json.dumps(asdict(description)))) == description


@pytest.mark.parametrize("threshold", [None, 0, -1.5, 2.0])
def test_the_threshold_of_photographs_is_a_number_or_missing(threshold):
    description = replace(FULL, photograph_threshold=threshold)
    check_description(description)
    assert read_description(json.loads(json.dumps(asdict(description)))) == description


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_malignant_classes_of_older_formats_are_known(number):
    upgraded = read_description({**OLD, "format": number})
    check_description(upgraded)
    assert (upgraded.format, upgraded.malignant, upgraded.sources) == (7, MALIGNANT, {})
    binary = read_description({**OLD, "format": number, "class_names": ["mel", "nv"]})
    assert binary.malignant == ("mel",)


def test_format_4_keeps_its_values_and_has_no_titles_aliases_or_patients():
    values = asdict(FULL) | {"format": 4, "malignant": ["bkl"], "synthetic": True}
    lacking = ("class_titles", "class_aliases", "train_patient_ids", "validation_patient_ids")
    for name in (*lacking, "sources"):
        del values[name]
    upgraded = read_description(values)
    check_description(upgraded)
    expected = {"malignant": ("bkl",), "synthetic": True, "class_titles": {}, "class_aliases": {}}
    assert upgraded == replace(FULL, **expected, train_patient_ids=(), sources={})


def test_format_5_keeps_its_values_and_has_no_sources():
    values = asdict(FULL) | {"format": 5}
    del values["sources"]
    upgraded = read_description(values)
    check_description(upgraded)
    assert upgraded == replace(FULL, sources={})


def test_format_6_keeps_its_values_and_has_neither_operating_points_nor_sets():
    values = asdict(FULL) | {"format": 6}
    del values["operating_points"], values["prediction_sets"]
    upgraded = read_description(values)
    check_description(upgraded)
    assert upgraded == FULL


@pytest.mark.parametrize(
    ("lesions", "synthetic"),
    [
        (["HAM_9000001", "HAM_9000002"], True),
        (["HAM_0000001", "HAM_9000001"], True),
        (["HAM_0000001"], False),
        ([], False),
    ],
)
def test_generated_images_are_known_in_older_formats(lesions, synthetic):
    assert read_description({**OLD, "train_lesion_ids": lesions}).synthetic is synthetic


def test_generated_images_are_known_by_their_lesions_or_else_by_all_of_their_ids(sample_dir):
    frame = read_dataset(sample_dir).frame
    image_ids, lesion_ids = frame["image_id"].tolist(), frame["lesion_id"].tolist()
    assert are_synthetic(image_ids, lesion_ids)
    # In folders of classes there are no lesions.
    assert are_synthetic(image_ids, image_ids)
    # One that was added to real images.
    assert are_synthetic(["ISIC_0024306", "other"], ["HAM_0000001", lesion_ids[0]])
    # Real images of other data sets have ids as these.
    assert not are_synthetic(["ISIC_9000001", "ISIC_0024306"], ["ISIC_9000001", "HAM_0000001"])
    assert not are_synthetic([], [])


def test_models_know_the_same_constants_as_the_data():
    assert _OLD_MALIGNANT == MALIGNANT
    assert models.description.SYNTHETIC_LESIONS == SYNTHETIC_LESIONS
    (size,) = [item for item in fields(TrainConfig) if item.name == "image_size"]
    assert size.metadata["maximum"] == MAX_IMAGE_SIZE


def test_a_model_says_what_it_was_trained_on():
    assert FULL.origin == "trained on 7,009 images of HAM10000, 2025-12-31"
    synthetic = replace(FULL, synthetic=True)
    assert synthetic.origin == "trained on 7,009 synthetic images, 2025-12-31"
    unknown = replace(FULL, data_name="", date="")
    assert unknown.origin == ("trained on 7,009 images of an unknown data set, on an unknown date")
    bare = Description("m", ("a", "b"), 32)
    assert bare.origin == "trained on unknown images, on an unknown date"


@pytest.mark.parametrize(
    ("data_name", "sources", "images"),
    [
        ("HAM10000", {}, " of HAM10000"),
        ("HAM10000", {"HAM10000": 7009}, " of HAM10000"),
        ("HAM10000", {"HAM10000": 70}, " (HAM10000 70, unknown 6,939)"),
        (
            "HAM10000 + isic2017_msk",
            {"isic2017_msk": 1739, "HAM10000": 5270},
            " (HAM10000 5,270, isic2017_msk 1,739)",
        ),
        (
            "HAM10000",
            {"vienna_dias": 306, "rosendahl": 6703},
            " of HAM10000 (rosendahl 6,703, vienna_dias 306)",
        ),
        (
            "HAM10000 + own",
            {"a": 7000, "x" * 45: 5, "b": 1, "c": 1, "d": 1, "e": 1},
            f" of HAM10000 + own (a 7,000, {'x' * 39}… 5, b 1, c 1 and 2 more)",
        ),
        # As many as a file may have, and images that count twice.
        (
            "",
            {"a": 10**9, "b": 10**9},
            " of an unknown data set (a 1,000,000,000, b 1,000,000,000)",
        ),
    ],
)
def test_a_model_names_its_sources_if_there_are_several(data_name, sources, images):
    description = replace(FULL, data_name=data_name, sources=sources)
    check_description(description)
    assert description.origin == f"trained on 7,009 images{images}, 2025-12-31"
    synthetic = replace(description, synthetic=True)
    assert synthetic.origin == "trained on 7,009 synthetic images, 2025-12-31"


def test_a_model_says_how_many_melanomas_it_misses():
    assert FULL.melanoma_note == (
        "Of the 1,167 melanomas among its test images, this model predicted another class for 52."
    )
    unknown = "It is not known how many melanomas this model misses."
    assert replace(FULL, melanomas=None).melanoma_note == unknown
    assert replace(FULL, synthetic=True).melanoma_note == unknown


def test_a_model_says_for_which_images_it_is_calibrated():
    calibrated = replace(FULL, temperature=1.2)
    assert "for images like those it was trained on;" in calibrated.calibration_note
    for other in (replace(FULL, temperature=1.0), replace(calibrated, synthetic=True)):
        assert other.calibration_note == "Its probabilities are not calibrated."


def melanomas(**changes) -> dict:
    return {"melanomas": {"split": "test", "count": 9, "missed": 2, **changes}}


@pytest.mark.parametrize(
    "change",
    [
        *({"malignant": value} for value in (("d",), ("mel", "mel"), "mel", (1,), None)),
        *(
            {"class_titles": value}
            for value in (None, (), "mel", {"d": "x"}, {"mel": 7}, {"mel": ""}, {"mel": "a\nb"})
        ),
        {"class_titles": {"mel": "x" * 201}},
        *(
            {"class_aliases": value}
            for value in (
                None,
                ["mel"],
                {"x": "d"},
                {"": "mel"},
                {"x" * 201: "mel"},
                {"x": ["mel"]},
            )
        ),
        {"class_aliases": {f"a{number}": "mel" for number in range(10_001)}},
        *({"train_patient_ids": value} for value in (None, "p", (1,))),
        *({"data_name": value} for value in (None, 7, "x" * 201, "two\nlines", "\x1b[31m")),
        *(
            {"sources": value}
            for value in (
                *(None, (), "HAM10000", ["HAM10000"], {"": 1}, {"a\nb": 1}, {"x" * 201: 1}),
                *({"a": 0}, {"a": -1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}),
                *({"a": 10**10}, {"a": {}}, {f"s{number}": 1 for number in range(1001)}),
            )
        ),
        *({"date": value} for value in (None, 20251231, "20251231", "2025-W01-1", "2025-02-30")),
        *({"synthetic": value} for value in (None, 0, "false", ())),
        *(
            {"photograph_threshold": value}
            for value in ("0", True, (), float("nan"), float("inf"), float("-inf"), 10**400)
        ),
        *(
            {"operating_points": value}
            for value in (
                *((), "0.5", 0.5, {"nevus": {}}, {"melanoma": None}, {"melanoma": 0.5}, {1: {}}),
                *({"melanoma": {name: 0.5}} for name in ("", "f1_0.90", "specificity_1.90", 7)),
                {"melanoma": {}},
                *({"melanoma": {"specificity_0.90": t}} for t in (None, True, "0", -0.1, 1.1)),
                *({"melanoma": {"specificity_0.90": t}} for t in (float("nan"), float("inf"))),
            )
        ),
        *(
            {"prediction_sets": value}
            for value in (
                *((), "0.5", 0.9, {}, {"coverage": 0.9}, {**SETS, "more": 1}),
                *({**SETS, "coverage": value} for value in (None, True, "0.9", 0, 1, float("nan"))),
                *({**SETS, "thresholds": value} for value in (None, [0.1] * 7, {}, {"mel": 0.5})),
                *(
                    {**SETS, "thresholds": SETS["thresholds"] | change}
                    for change in ({"x": 0.5}, {"mel": None}, {"mel": -0.1}, {"mel": True})
                ),
            )
        ),
        *({"melanomas": value} for value in ({}, (), "9", {"count": 9, "missed": 2})),
        *(melanomas(split=value) for value in ("train", None, ())),
        *(melanomas(count=value) for value in (1, 0, True, 9.0, "9", 10**12)),
        *(melanomas(missed=value) for value in (-1, 10, False, None)),
        melanomas(more=1),
        *(
            {name: value}
            for name in ("train_pixel_hashes", "validation_pixel_hashes")
            for value in (None, 7, "AAAA", "AAAAAAAAAAA", "ÄAAAAAAAAAA=", "AAAAAAAAA A=", ())
        ),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line(change):
    with pytest.raises(ModelError) as caught:
        check_description(replace(FULL, **change))
    message = str(caught.value)
    assert f" as {next(iter(change))} in its description, received " in message
    assert "\n" not in message
    assert len(message) < 200


def test_a_description_is_read_without_loading_the_model(tmp_path):
    assert peek_description(write_model(tmp_path / "m.keras", asdict(FULL))) == FULL
    older = {**OLD, "train_lesion_ids": ["HAM_9000001"]}
    assert peek_description(write_model(tmp_path / "m.keras", older)).synthetic


def test_a_file_without_a_usable_description_has_none(tmp_path):
    assert peek_description(tmp_path / "missing.keras") is None
    assert peek_description(tmp_path) is None
    (tmp_path / "text.keras").write_text("no model")
    assert peek_description(tmp_path / "text.keras") is None
    for values in (None, [], 7, {}, {"model": "m"}, {**asdict(FULL), "synthetic": "no"}):
        assert peek_description(write_model(tmp_path / "m.keras", values)) is None
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
    assert peek_description(tmp_path / "deep.keras") is None


def test_reading_a_description_does_not_wait_for_tensorflow():
    code = "import models.description, sys; print({'keras', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
