import pandas as pd
import pytest

from data import DataError, DataWarning
from data.tables import add_paths, fill_lesion_ids, find_table, list_files, read_table, to_years


def test_files_are_listed_in_a_fixed_order_without_resource_forks(tmp_path):
    for name in ("b/two.JPG", "b/one.png", "a/x.csv", "a/y", "b/._one.png", "c.part/3.png", "d.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    tables, images = list_files(tmp_path)
    assert tables == [tmp_path / "a/x.csv", tmp_path / "a/y"]
    assert images == [str(tmp_path / "b/one.png"), str(tmp_path / "b/two.JPG")]


def test_a_table_is_found_by_its_name_and_else_by_its_columns(tmp_path):
    first, second, named = (tmp_path / name for name in ("1.csv", "2.csv", "LABELS.csv"))
    first.write_text("other\n")
    second.write_text('x,"image_id", dx\n')
    named.write_text("nothing known\n")
    options = {"stem": "labels", "columns": ("image_id", "dx")}
    assert find_table([first, second, named], **options) == named
    assert find_table([first, second], **options) == second
    assert find_table([first], **options) is None


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("line_ending", ["\n", "\r\n"])
def test_a_table_is_read_as_stripped_text(tmp_path, separator, line_ending):
    path = tmp_path / "table"
    lines = (separator.join(row) for row in (("a", " b"), (" 1 ", ""), ("NA", "é")))
    path.write_bytes(line_ending.join(lines).encode("utf-8-sig"))
    frame = read_table(path, ("a", "b"))
    assert frame.to_dict("list") == {"a": ["1", "NA"], "b": ["", "é"]}


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"image_id,site\nISIC_9,R\xfccken\n")
    with pytest.raises(DataError, match="expected text in UTF-8, received the byte 0x"):
        read_table(tmp_path / "x.csv", ("image_id",))


def test_a_row_with_too_many_fields_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(DataError, match="expected 2 values in each row, received more"):
        read_table(tmp_path / "x.csv", ("a",))


def test_an_image_without_lesion_id_becomes_its_own_lesion_with_a_warning(tmp_path):
    frame = pd.DataFrame({"image_id": ["a", "b"], "lesion_id": ["L", ""]})
    with pytest.warns(DataWarning, match="1 of 2 images have no lesion_id"):
        fill_lesion_ids(frame, tmp_path)
    assert frame["lesion_id"].tolist() == ["L", "b"]


def test_impossible_ages_are_missing_and_named(tmp_path):
    ages = pd.Series(["40", "", "unknown", "-1", "old"])
    with pytest.warns(DataWarning, match=r"such as '-1', are treated as unknown \(2 in total\)"):
        years = to_years(ages, tmp_path)
    assert years[0] == 40.0
    assert years[1:].isna().all()


def test_of_two_files_for_one_image_the_first_counts(tmp_path):
    frame = pd.DataFrame({"image_id": ["a", "b"]})
    add_paths(frame, ["x/a.jpg", "y/a.png"], tmp_path)
    assert frame["path"][0] == "x/a.jpg"
    assert frame["path"].isna().tolist() == [False, True]
