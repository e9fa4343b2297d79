"""The download of HAM10000, from a small data set on a local server."""

import hashlib
import io
import shutil
import zipfile
from types import SimpleNamespace

import pytest
from PIL import Image

from data import DataError, download
from data.download import TEST_FILES, TRAINING_FILES, RemoteFile, download_ham10000, unpack
from data.sources import read_dataset
from tests import server
from tests.server import Server

LABELS = {f"ISIC_{number:07d}": "nv" if number % 2 else "mel" for number in range(7)}


def make_jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def owner(monkeypatch):
    """A server with a table and two archives; `remote_files` describes them."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    table = "image_id,lesion_id,dx\n" + "".join(
        f"{image},HAM_{image[5:]},{label}\n" for image, label in LABELS.items()
    )
    images = {f"{image}.jpg": make_jpeg(20 * n) for n, image in enumerate(LABELS)}
    names = list(images)
    files = {
        # Archives are flat, or have a folder, texts and the resource forks of macOS.
        "HAM10000_metadata.csv": table.encode(),
        "HAM10000_images_part_1": make_zip({name: images[name] for name in names[:4]}),
        "HAM10000_images_part_2": make_zip(
            {
                **{f"HAM10000_images_part_2/{name}": images[name] for name in names[4:]},
                "HAM10000_images_part_2/LICENSE.txt": b"text",
                f"__MACOSX/._{names[4]}": b"resource fork",
            }
        ),
    }
    with Server(b"") as running:
        running.files = {f"/{name}": content for name, content in files.items()}
        counts = {"HAM10000_images_part_1": 4, "HAM10000_images_part_2": 3}
        running.remote_files = [
            RemoteFile(
                name,
                f"{running.url}/{name}",
                hashlib.md5(content).hexdigest(),
                len(content),
                counts.get(name, 0),
            )
            for name, content in files.items()
        ]
        yield running


def run(owner, root) -> list[str]:
    lines: list[str] = []
    files = owner.remote_files
    download_ham10000(root, files=files, say=lines.append, sleep=lambda seconds: None)
    return lines


def test_a_new_folder_is_filled_with_a_data_set(owner, tmp_path):
    root = tmp_path / "datasets" / "HAM10000"
    lines = run(owner, root)
    assert sorted(path.name for path in root.iterdir()) == sorted(
        file.name for file in owner.remote_files
    )
    frame = read_dataset(root).frame
    assert frame["path"].notna().all()
    assert len(list((root / "HAM10000_images_part_2").iterdir())) == 3
    # Source, license and sizes come before any request.
    assert "CC BY-NC 4.0" in lines[0]
    size = owner.remote_files[1].size / 1000
    assert lines[2] == f"  HAM10000_images_part_1: {size:.1f} kB, 4 images"
    assert lines[-1] == f"{root}: complete, 7 images"


def test_a_second_call_does_nothing(owner, tmp_path):
    run(owner, tmp_path)
    owner.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(owner, tmp_path) == [f"{tmp_path}: complete, 7 images; nothing to do"]
    assert owner.requests == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_images_in_other_folders_are_not_downloaded_again(owner, tmp_path):
    run(owner, tmp_path)
    (tmp_path / "images").mkdir()
    for path in tmp_path.glob("*/*.jpg"):
        path.rename(tmp_path / "images" / path.name)
    for name in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        (tmp_path / name).rmdir()
    owner.requests.clear()
    run(owner, tmp_path)
    assert owner.requests == []


def test_a_second_call_resumes_where_the_first_was_stopped(owner, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "unpack", stop)
        with pytest.raises(KeyboardInterrupt):
            run(owner, tmp_path)
    assert (tmp_path / "HAM10000_images_part_1.zip").exists()
    assert not (tmp_path / "HAM10000_images_part_1").exists()
    owner.requests.clear()
    run(owner, tmp_path)
    assert [path for path, _ in owner.requests] == ["/HAM10000_images_part_2"]


def test_images_of_an_unfinished_folder_do_not_count(owner, tmp_path):
    run(owner, tmp_path)
    # As if the process had been killed in the middle of the last image.
    part = tmp_path / "HAM10000_images_part_2.part"
    (tmp_path / "HAM10000_images_part_2").rename(part)
    last = max(part.iterdir())
    last.write_bytes(last.read_bytes()[:100])
    assert read_dataset(tmp_path).frame["path"].isna().sum() == 3
    assert run(owner, tmp_path)[-1] == f"{tmp_path}: complete, 7 images"
    assert not part.exists()
    last = tmp_path / "HAM10000_images_part_2" / last.name
    assert len(last.read_bytes()) > 100


def test_unpacking_keeps_whole_images_and_replaces_damaged_ones(tmp_path):
    path, folder = tmp_path / "a.zip", tmp_path / "images"
    path.write_bytes(make_zip({f"{n}.jpg": make_jpeg(n) for n in range(3)}))
    part = tmp_path / "images.part"
    part.mkdir()
    (part / "0.jpg").write_bytes(make_jpeg(0))
    (part / "1.jpg").write_bytes(make_jpeg(1)[:-5])
    (part / "2.jpg").write_bytes(b"x" * len(make_jpeg(2)))
    (part / "of an earlier archive.jpg").write_bytes(b"")
    whole = (part / "0.jpg").stat().st_mtime_ns
    unpack(path, folder, expected=3, say=lambda line: None)
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    assert found == {f"{n}.jpg": make_jpeg(n) for n in range(3)}
    assert (folder / "0.jpg").stat().st_mtime_ns == whole
    assert not part.exists()


def test_no_file_is_unpacked_outside_the_folder(tmp_path):
    path, folder = tmp_path / "deep" / "a.zip", tmp_path / "deep" / "images"
    path.parent.mkdir()
    members = {"../../up.jpg": b"1", "/tmp/absolute.jpg": b"2", "..\\back.jpg": b"3"}
    path.write_bytes(make_zip(members))
    unpack(path, folder, expected=3, say=lambda line: None)
    assert sorted(entry.name for entry in tmp_path.rglob("*.jpg") if entry.is_file()) == sorted(
        entry.name for entry in folder.iterdir()
    )
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive", "expected a zip archive, received a damaged one"),
        (make_zip({"a.jpg": make_jpeg(1)})[:-30], "expected a zip archive, received a damaged one"),
        (
            make_zip({"a.jpg": b"a" * 900, "b.jpg": b"b" * 900}).replace(b"a" * 900, b"c" * 900),
            "a damaged one: Bad CRC-32",
        ),
        (make_zip({"a.jpg": b"a"}), "expected 2 images, received 1"),
        (make_zip({"x/a.jpg": b"a", "y/a.jpg": b"b"}), "expected 2 images, received 1"),
    ],
    ids=["text", "cut", "checksum", "too few", "same name twice"],
)
def test_a_damaged_archive_is_refused_and_leaves_no_folder(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=message):
        unpack(tmp_path / "a.zip", tmp_path / "images", expected=2)
    assert not (tmp_path / "images").exists()


def test_an_archive_that_grows_much_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bytes(1 << 20))
    with pytest.raises(DataError, match="received files that grow fourfold"):
        unpack(tmp_path / "a.zip", tmp_path / "images", expected=1)


def test_images_that_the_table_does_not_list_are_reported(owner, tmp_path):
    short = owner.files["/HAM10000_metadata.csv"].rsplit(b"\n", 2)[0] + b"\n"
    owner.files["/HAM10000_metadata.csv"] = short
    table = owner.remote_files[0]
    md5 = hashlib.md5(short).hexdigest()
    owner.remote_files[0] = RemoteFile(table.name, table.url, md5, len(short))
    with pytest.raises(DataError, match="expected 7 images that its table lists, received 6"):
        run(owner, tmp_path)


def test_without_disk_space_nothing_is_requested(owner, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match=r"expected .* kB of free disk space, found 0\.1 kB"):
        run(owner, tmp_path)
    assert owner.requests == []


def test_a_missing_file_is_one_line_and_exit_code_2(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TRAINING_FILES", owner.remote_files)
    owner.script = [server.refuse(404)]
    assert download.main(["--output_dir", str(tmp_path / "d")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m data.download: error: http://127.0.0.1")
    assert "404 Not Found" in err
    assert err.count("\n") == 1


def test_the_command_downloads_training_and_test_set(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TRAINING_FILES", owner.remote_files)
    monkeypatch.setattr(download, "TEST_FILES", owner.remote_files)
    root = tmp_path / "HAM10000"
    assert download.main(["--output_dir", str(root), "--test_set"]) == 0
    for folder in (root, tmp_path / "ISIC2018_Task3_Test"):
        assert len(read_dataset(folder).frame) == 7
    assert f"{root}: complete" in capsys.readouterr().out


def test_ctrl_c_shows_how_to_resume(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download_ham10000", stop)
    assert download.main(["--output_dir", str(tmp_path)]) == 130
    assert "run the same command again to resume" in capsys.readouterr().err


def test_the_files_are_those_of_the_owners():
    assert sum(file.size for file in TRAINING_FILES) == 1_366_522_108 + 1_403_566_547 + 690_218
    assert sum(file.images for file in TRAINING_FILES) == 10_015
    assert sum(file.images for file in TEST_FILES) == 1_511
    for file in (*TRAINING_FILES, *TEST_FILES):
        assert file.url.startswith("https://dataverse.harvard.edu/api/access/datafile/")
        assert len(bytes.fromhex(file.md5)) == 16
