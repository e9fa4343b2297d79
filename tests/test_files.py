import errno
import os
from pathlib import Path

import pytest

from support import InputError
from support.files import (
    common_folder,
    count_noun,
    csv_cell,
    describe_os_error,
    file_state,
    first_line,
    is_path_text,
    list_names,
    make_folder,
    one_line,
    parse_json,
    read_json,
    replacing,
    replacing_folder,
    safe_name,
    walk,
    write_text,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with replacing(path) as temporary:
        # Keras chooses the format by the suffix.
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".keras")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "table.csv"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first" * 100)
        second.write_text("second")
    assert path.read_text() == "first" * 100
    with replacing_folder(tmp_path / "model") as first:
        first.mkdir()
        with replacing_folder(tmp_path / "model") as second:
            second.mkdir()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model", "table.csv"]


def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "disk/table.csv")
    for text in ("new", "newer"):
        write_text(tmp_path / "link.csv", text)
        assert (tmp_path / "disk/table.csv").read_text() == text
    assert (tmp_path / "link.csv").is_symlink()


def test_what_killed_writers_left_is_removed_when_it_is_old(tmp_path):
    names = (".a.01234567.part.csv", ".a.89abcdef.part.csv", ".b.01234567.part.csv")
    for name in names:
        (tmp_path / name).touch()
    for name in (names[0], names[2]):
        os.utime(tmp_path / name, (1, 1))
    write_text(tmp_path / "a.csv", "text")
    assert sorted(item.name for item in tmp_path.iterdir()) == [*names[1:], "a.csv"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "history.csv"
    write_text(path, "old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model"
    for text in ("old", "new"):
        with replacing_folder(path) as temporary:
            assert temporary.parent == tmp_path
            temporary.mkdir()
            (temporary / "file").write_text(text)
        assert (path / "file").read_text() == text
        assert list(tmp_path.iterdir()) == [path]

    def write_half() -> None:
        with replacing_folder(path) as temporary:
            temporary.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    # Nothing was written that could take its place.
    with pytest.raises(FileNotFoundError), replacing_folder(path):
        pass
    assert (path / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_not_the_temporary_one(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    for name, reason in (
        ("gone/table.csv", "no such file or directory"),
        ("file/table.csv", "not a directory"),
        ("folder.csv", "is a directory"),
    ):
        with pytest.raises(OSError, match=r".") as error:
            write_text(tmp_path / name, "text")
        assert describe_os_error(error.value) == f"{tmp_path}/{name}: {reason}"
    with pytest.raises(IsADirectoryError):
        write_text(".", "text")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"received .*file \(it is a file\); choose another"):
        make_folder(tmp_path / "file")


def test_walk_is_sorted_follows_links_once_and_skips_unfinished_downloads(tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/3.jpg", "zip.part/4.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "b")
    found = [(folder.removeprefix(str(tmp_path)), names) for folder, names in walk(tmp_path)]
    assert found == [("", []), ("/a", ["3.jpg"]), ("/b", ["1.jpg", "2.jpg"])]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(UserWarning, match=r"skipped .*/closed: permission denied"):
        assert [names for _, names in walk(tmp_path)] == [[], ["1.png"]]
    with pytest.raises(PermissionError):
        list(walk(tmp_path / "closed"))


def test_the_state_of_a_file_is_its_path_size_and_date(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    states = [file_state(path)]
    for text, date in (("a", 1), ("ab", 1), ("ab", 2)):
        path.write_text(text)
        os.utime(path, (date, date))
        states.append(file_state(path))
    assert len({*states}) == 4
    monkeypatch.chdir(tmp_path)
    assert file_state("a.png") == states[-1]


def test_text_from_files_becomes_one_line():
    assert one_line("a\nb\x1b[31m") == "a?b?[31m"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_a_message_has_no_escape_sequences_and_an_end():
    error = InputError("expected a name, received \x1b[31m\x9b\u202e\n" + "x" * 10**6)
    assert str(error).isprintable()
    assert len(str(error)) == 4000


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lesion 1-mel", "lesion 1-mel"),
        ("Größe.v2", "Größe.v2"),
        ("/../../x", "_.._.._x"),
        ("..", "_"),
        ("", "_"),
        ("C:\\x", "C__x"),
        ("a\0\x1b\udcff\u202eb", "a____b"),
        (".hidden ", "hidden"),
        ("é" * 200, "é" * 100),
    ],
)
def test_a_name_from_a_file_names_no_other_folder(text, name):
    assert safe_name(text) == name


def test_a_cell_that_begins_like_a_formula_gets_an_apostrophe():
    assert [csv_cell(text) for text in ("=1", "@a", "a=1", "\t=1", "")] == [
        "'=1",
        "'@a",
        "a=1",
        "\\u0009=1",
        "",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]," * 6_000_000, "more than 16 MiB"),
        (b"9" * 5000, "digits"),
        (b"\xff", "decode"),
        (b"", "Expecting value"),
    ],
    ids=["lists", "objects", "large", "digits", "bytes", "empty"],
)
def test_json_from_anybody_raises_one_kind_of_error(tmp_path, data, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(data)
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "a.json")


def test_a_path_has_no_null_character_and_can_be_encoded():
    texts = ("a/b", "ä", "\udcff", "a\0b", "\ud800")
    assert [is_path_text(text) for text in texts] == [True, True, True, False, False]


def test_long_lists_of_names_are_capped():
    assert list_names(["a", "b\n"]) == "a, b?"
    assert list_names(map(str, range(10_015)), 2) == "0, 1 and 10,013 more"


def test_a_number_decides_the_plural_of_its_noun():
    counts = [count_noun(count, "run") for count in (0, 1, 2, 1_000)]
    assert counts == ["0 runs", "1 run", "2 runs", "1,000 runs"]


def test_results_of_several_models_are_beside_all_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert common_folder([Path("runs/a/model.keras")]) == Path("runs/a")
    runs = [Path("runs/folds/a/model.keras"), tmp_path / "runs" / "folds" / "b" / "model.keras"]
    assert common_folder(runs) == tmp_path / "runs" / "folds"
    assert common_folder([Path("m/a.keras"), Path("m/b.keras")]) == Path("m")
