"""From which column the source of an image is read."""

import pytest
from label_tables import HAM_LABELS

from data import DataWarning
from data.sources import read_dataset

SOURCES = {"ISIC_0000001": "rosendahl", "ISIC_0000002": "", "ISIC_0000003": "vidir_modern"}


def add_column(table, name: str, values: dict[str, str]) -> str:
    """Return a table with one more column, by image id; `vidir_modern` for all others."""
    header, *rows = table.read_text().splitlines()
    values = [values.get(row.split(",")[1], "vidir_modern") for row in rows]
    rows = [f"{row},{value}" for row, value in zip(rows, values, strict=True)]
    return "\n".join([f"{header},{name}", *rows]) + "\n"


@pytest.mark.parametrize("name", ["dataset", "source", "attribution", "Source ", "DATASET"])
def test_the_source_of_each_image_is_read(write_ham10000, name):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    assert "source" not in read_dataset(root).frame
    table.write_text(add_column(table, name, SOURCES | {"ISIC_0000002": "n/a"}))
    dataset = read_dataset(root)
    assert dataset.frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]
    assert dataset.notes == ("sources: vidir_modern 2, rosendahl 1, unknown 1",)


@pytest.mark.parametrize(
    ("header", "row", "source"),
    [
        ("dataset,source", "A,B", "B"),
        ("source,dataset", "train,A", "A"),
        ("dataset,attribution", "Test,A", "A"),
        ("Dataset,dataset", "A,B", "B"),
        ("dataset,dataset", "A,B", None),
        ("dataset,Dataset,DATASET", "A,B,C", "A"),
        ("DataSet,Dataset", "A,B", None),
        ("source", "null", None),
        ("split", "A", None),
    ],
)
def test_of_several_columns_the_exact_name_with_sources_counts(write_ham10000, header, row, source):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(add_column(table, header, dict.fromkeys(HAM_LABELS, row)))
    assert set(read_dataset(root).frame.get("source", [None])) == {source}


def test_a_column_with_the_split_is_no_source(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    splits = dict(zip(HAM_LABELS, ("train", "Train", "val", "test"), strict=True))
    text = add_column(table, "dataset", splits)
    table.write_text(text)
    frame = read_dataset(root).frame
    assert frame["split"].tolist() == ["train", "train", "val", "test"]
    assert "source" not in frame
    table.write_text(add_column(table, "source", SOURCES))
    frame = read_dataset(root).frame
    assert frame["split"].tolist() == ["train", "train", "val", "test"]
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]


@pytest.mark.parametrize(("limit", "is_source"), [(4, True), (3, False)])
def test_a_column_with_too_many_values_is_no_source(monkeypatch, write_ham10000, limit, is_source):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    addresses = {image_id: f"https://isic/{image_id}" for image_id in HAM_LABELS}
    table.write_text(add_column(table, "source", addresses))
    monkeypatch.setattr("data.table_layouts.MAX_SOURCES", limit)
    assert ("source" in read_dataset(root).frame) is is_source


@pytest.mark.parametrize("name", ["HAM10000_metadata.tab", "HAM10000_metadata", "dataverse.csv"])
def test_the_table_of_the_dataverse_beside_that_of_kaggle_gives_the_sources(write_ham10000, name):
    root = write_ham10000(HAM_LABELS)
    before = read_dataset(root).frame
    (root / name).write_text(add_column(root / "HAM10000_metadata.csv", "dataset", SOURCES))
    frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]
    assert frame.drop(columns="source").equals(before)


def test_a_table_of_more_images_beside_that_of_ham10000_gives_the_sources(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table, other = root / "HAM10000_metadata.csv", root / "HAM10000_metadata_dataverse.csv"
    other.write_text(add_column(table, "dataset", SOURCES))
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:4]))
    frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern"]


def test_rows_that_differ_in_their_source_only_are_one_image(write_ham10000):
    root = write_ham10000(HAM_LABELS, with_dataset_column=True)
    table = root / "HAM10000_metadata.csv"
    table.write_text(
        table.read_text() + table.read_text().splitlines()[1].replace("vidir", "other") + "\n"
    )
    with pytest.warns(DataWarning, match=r"duplicate rows, such as ISIC_0000001.*\(1 in total\)"):
        frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["vidir_modern"] * len(HAM_LABELS)
