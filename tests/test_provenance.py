"""Where images come from: their sources, and which of them a model was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.provenance import (
    OTHERS,
    compare_sources,
    count_sources,
    name_folder,
    name_sources,
)
from data.sources import read_dataset
from data.table_layouts import MAX_SOURCES
from models.description import Description
from models.description_checks import check_description

pytestmark = pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
MODEL = Description("m", ("mel", "nv"), 32)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder `clinics` with three images of the source A and one of the source B."""
    root = tmp_path / "clinics"
    root.mkdir()
    rows = ["image,label,source", "a1,mel,A", "a2,nv,A", "a3,nv,A", "b1,nv,B"]
    (root / "labels.csv").write_text("\n".join(rows))
    for index, name in enumerate(("a1", "a2", "a3", "b1")):
        Image.fromarray(np.full((9, 9, 3), 9 * index, np.uint8)).save(root / f"{name}.jpg")
    return root


def without_sources(folder: Path) -> None:
    table = folder / "labels.csv"
    table.write_text("\n".join(line.rsplit(",", 1)[0] for line in table.read_text().split("\n")))


def trained_on(folder: Path, model: Description, rows=slice(None)) -> dict[str, bool | None]:
    frame = read_dataset(folder).frame.iloc[rows].reset_index(drop=True)
    return compare_sources(frame, str(folder), model)[1]


def test_images_without_a_source_get_the_default():
    frame = pd.DataFrame({"source": ["A", "", None, " B\n"]}, index=[3, 5, 7, 9])
    assert name_sources(frame, "HAM").to_dict() == {3: "A", 5: "HAM", 7: "HAM", 9: "B?"}
    assert name_sources(frame.drop(columns="source"), "HAM").tolist() == ["HAM"] * 4


def test_sources_are_counted_the_most_frequent_first():
    frame = pd.DataFrame({"source": ["B", "", "C", "A", "B", "A", "B"]})
    assert count_sources(frame, "HAM") == {"B": 3, "A": 2, "C": 1, "HAM": 1}
    assert count_sources(frame, "B") == {"B": 4, "A": 2, "C": 1}
    assert count_sources(frame, "") == {"B": 3, "A": 2, "C": 1}
    assert count_sources(frame[["source"]].iloc[:0], "HAM") == {}
    assert count_sources(pd.DataFrame({"image_id": list("xy")}), "HAM") == {"HAM": 2}


def test_the_rarest_of_too_many_sources_are_counted_together():
    names = [f"s{index:03}" for index in range(MAX_SOURCES + 5)]
    assert len(count_sources(pd.DataFrame({"source": names[:MAX_SOURCES]}), "")) == MAX_SOURCES
    counts = count_sources(pd.DataFrame({"source": [*names, names[-1]]}), "")
    assert len(counts) == MAX_SOURCES
    assert list(counts.items())[:2] == [(names[-1], 2), (names[0], 1)]
    assert list(counts.items())[-1] == (OTHERS, 6)
    # One that is called so is among them.
    counts = count_sources(pd.DataFrame({"source": [*names, OTHERS, OTHERS]}), "")
    assert (counts[OTHERS], sum(counts.values())) == (9, len(names) + 2)


def test_whatever_a_table_holds_as_source_fits_into_a_model_file():
    sources = ["x" * 500, "two\nlines", "\x1b[31m", "\u202e", "=1+1", " ", *map(str, range(500))]
    counts = count_sources(pd.DataFrame({"source": sources}), "a\udcff")
    check_description(replace(MODEL, sources=counts))
    assert sum(counts.values()) == len(sources)


def test_a_data_folder_is_named_without_its_path(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("")
    assert (
        name_folder(tmp_path)
        == name_folder(table)
        == name_folder(f"{tmp_path}/")
        == (tmp_path.name)
    )
    assert name_folder("/") == ""


def test_a_model_was_trained_on_the_sources_that_it_names(folder):
    model = replace(MODEL, sources={"a": 7})
    names, trained = compare_sources(read_dataset(folder).frame, str(folder), model)
    assert names == ["A", "A", "A", "B"]
    assert trained == {"A": True, "B": False}


def test_a_model_was_trained_on_sources_of_which_it_knows_an_image(folder):
    # Its table named no sources, and the known image is in no test split.
    model = replace(MODEL, sources={"old": 1}, train_image_ids=("A1",))
    assert trained_on(folder, model, slice(1, None)) == {"A": True, "B": False}
    # An image that it was validated on is not enough.
    model = replace(MODEL, sources={"old": 1}, validation_image_ids=("a1",))
    assert trained_on(folder, model) == {"A": False, "B": False}


def test_of_a_model_that_names_no_sources_the_folders_are_known(folder):
    assert trained_on(folder, MODEL) == {"A": None, "B": None}
    model = replace(MODEL, data_name="HAM10000 + Clinics", train_image_ids=("b1",))
    assert trained_on(folder, model) == {"A": None, "B": True}
    without_sources(folder)
    assert trained_on(folder, model) == {}
    assert trained_on(folder, replace(MODEL, data_name="HAM10000")) == {"clinics": False}
    assert trained_on(folder, MODEL) == {}


def test_one_source_is_measured_apart_only_if_the_model_was_not_trained_on_it(folder):
    assert trained_on(folder, replace(MODEL, sources={"A": 1}), slice(3)) == {}
    assert trained_on(folder, replace(MODEL, sources={"B": 1}), slice(3)) == {"A": False}
    assert trained_on(folder, MODEL, slice(3)) == {}
    without_sources(folder)
    assert trained_on(folder, replace(MODEL, sources={"clinics": 1})) == {}
    assert trained_on(folder, replace(MODEL, sources={"B": 1})) == {"clinics": False}
