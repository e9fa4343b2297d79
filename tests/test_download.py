"""HAM10000's download, with a small data set on a server of the loopback."""

import hashlib
import io
import shutil
import zipfile
from types import SimpleNamespace

import pytest
from PIL import Image

from data import DataError, download
from data.download import TEST, TRAINING, Source, download_ham10000, unpack
from data.ham10000 import read_metadata
from tests import server
from tests.server import Server

LABELS = {f"ISIC_{number:07d}": "nv" if number % 2 else "mel" for number in range(7)}


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def owner(monkeypatch):
    """A server with a table and two archives, and the sources that name them."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    table = "image_id,lesion_id,dx\n" + "".join(
        f"{image},HAM_{image[5:]},{label}\n" for image, label in LABELS.items()
    )
    images = {f"{image}.jpg": picture(20 * n) for n, image in enumerate(LABELS)}
    names = list(images)
    files = {
        # As archives come: flat, in a folder, with texts, with what macOS adds.
        "HAM10000_metadata.csv": table.encode(),
        "HAM10000_images_part_1": archive({name: images[name] for name in names[:4]}),
        "HAM10000_images_part_2": archive(
            {
                **{f"HAM10000_images_part_2/{name}": images[name] for name in names[4:]},
                "HAM10000_images_part_2/LICENSE.txt": b"text",
                f"__MACOSX/._{names[4]}": b"no picture",
            }
        ),
    }
    with Server(b"") as found:
        found.files = {f"/{name}": content for name, content in files.items()}
        counts = {"HAM10000_images_part_1": 4, "HAM10000_images_part_2": 3}
        found.sources = [
            Source(
                name,
                f"{found.url}/{name}",
                hashlib.md5(content).hexdigest(),
                len(content),
                counts.get(name, 0),
            )
            for name, content in files.items()
        ]
        yield found


def run(owner, root) -> list[str]:
    said: list[str] = []
    download_ham10000(root, sources=owner.sources, say=said.append, sleep=lambda seconds: None)
    return said


def test_from_nothing_to_data_that_can_be_read(owner, tmp_path):
    root = tmp_path / "datasets" / "HAM10000"
    said = run(owner, root)
    assert sorted(path.name for path in root.iterdir()) == sorted(
        source.name for source in owner.sources
    )
    frame = read_metadata(root)
    assert frame["path"].notna().all()
    assert len(list((root / "HAM10000_images_part_2").iterdir())) == 3
    # What, how large, under which licence: before anything is asked for.
    assert "CC BY-NC 4.0" in said[0]
    size = owner.sources[1].size / 1000
    assert said[2] == f"  HAM10000_images_part_1: {size:.1f} kB, 4 images"
    assert said[-1] == f"{root}: complete, 7 images"


def test_the_second_time_nothing_is_done(owner, tmp_path):
    run(owner, tmp_path)
    owner.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert run(owner, tmp_path) == [f"{tmp_path}: complete, 7 images; nothing to do"]
    assert owner.requests == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_images_that_are_there_in_other_folders_are_enough(owner, tmp_path):
    run(owner, tmp_path)
    (tmp_path / "images").mkdir()
    for path in tmp_path.glob("*/*.jpg"):
        path.rename(tmp_path / "images" / path.name)
    for name in ("HAM10000_images_part_1", "HAM10000_images_part_2"):
        (tmp_path / name).rmdir()
    owner.requests.clear()
    run(owner, tmp_path)
    assert owner.requests == []


def test_a_second_call_goes_on_where_the_first_was_stopped(owner, tmp_path, monkeypatch):
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


def test_pictures_that_are_not_all_unpacked_do_not_count_as_data(owner, tmp_path):
    run(owner, tmp_path)
    # As if the process had been killed in the middle of the last picture.
    part = tmp_path / "HAM10000_images_part_2.part"
    (tmp_path / "HAM10000_images_part_2").rename(part)
    last = max(part.iterdir())
    last.write_bytes(last.read_bytes()[:100])
    assert read_metadata(tmp_path)["path"].isna().sum() == 3
    assert run(owner, tmp_path)[-1] == f"{tmp_path}: complete, 7 images"
    assert not part.exists()
    last = tmp_path / "HAM10000_images_part_2" / last.name
    assert len(last.read_bytes()) > 100


def test_unpacking_keeps_what_is_whole_and_mends_what_is_not(tmp_path):
    path, folder = tmp_path / "a.zip", tmp_path / "images"
    path.write_bytes(archive({f"{n}.jpg": picture(n) for n in range(3)}))
    part = tmp_path / "images.part"
    part.mkdir()
    (part / "0.jpg").write_bytes(picture(0))
    (part / "1.jpg").write_bytes(picture(1)[:-5])
    (part / "2.jpg").write_bytes(b"x" * len(picture(2)))
    (part / "of another time.jpg").write_bytes(b"")
    whole = (part / "0.jpg").stat().st_mtime_ns
    unpack(path, folder, expected=3, say=lambda line: None)
    found = {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    assert found == {f"{n}.jpg": picture(n) for n in range(3)}
    assert (folder / "0.jpg").stat().st_mtime_ns == whole
    assert not part.exists()


def test_nothing_gets_out_of_the_folder(tmp_path):
    path, folder = tmp_path / "deep" / "a.zip", tmp_path / "deep" / "images"
    path.parent.mkdir()
    members = {"../../up.jpg": b"1", "/tmp/absolute.jpg": b"2", "..\\back.jpg": b"3"}
    path.write_bytes(archive(members))
    unpack(path, folder, expected=3, say=lambda line: None)
    assert sorted(entry.name for entry in tmp_path.rglob("*.jpg") if entry.is_file()) == sorted(
        entry.name for entry in folder.iterdir()
    )
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "should be a zip archive, but is damaged"),
        (archive({"a.jpg": picture(1)})[:-30], "should be a zip archive, but is damaged"),
        (
            archive({"a.jpg": b"a" * 900, "b.jpg": b"b" * 900}).replace(b"a" * 900, b"c" * 900),
            "is damaged: Bad CRC-32",
        ),
        (archive({"a.jpg": b"a"}), "should hold 2 images, received 1"),
        (archive({"x/a.jpg": b"a", "y/a.jpg": b"b"}), "should hold 2 images, received 1"),
    ],
    ids=["text", "cut", "checksum", "too few", "the same name twice"],
)
def test_a_damaged_archive_is_refused_and_leaves_no_folder(tmp_path, content, message):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=message):
        unpack(tmp_path / "a.zip", tmp_path / "images", expected=2)
    assert not (tmp_path / "images").exists()


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.jpg", bytes(1 << 20))
    with pytest.raises(DataError, match="unpacks to far more"):
        unpack(tmp_path / "a.zip", tmp_path / "images", expected=1)


def test_images_that_the_table_does_not_list_are_noticed(owner, tmp_path):
    short = owner.files["/HAM10000_metadata.csv"].rsplit(b"\n", 2)[0] + b"\n"
    owner.files["/HAM10000_metadata.csv"] = short
    table = owner.sources[0]
    owner.sources[0] = Source(table.name, table.address, hashlib.md5(short).hexdigest(), len(short))
    with pytest.raises(DataError, match="should have 7 images that its table lists, received 6"):
        run(owner, tmp_path)


def test_without_space_nothing_is_asked_for(owner, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match=r"needs .* kB of free disk, received 0\.1 kB"):
        run(owner, tmp_path)
    assert owner.requests == []


def test_a_server_without_the_file_is_one_line_and_exit_2(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TRAINING", owner.sources)
    owner.script = [server.refuse(404)]
    assert download.main(["--output_dir", str(tmp_path / "d")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("python -m data.download: error: http://127.0.0.1")
    assert "404 Not Found" in err
    assert err.count("\n") == 1


def test_the_command_fetches_both_sets(owner, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "TRAINING", owner.sources)
    monkeypatch.setattr(download, "TEST", owner.sources)
    root = tmp_path / "HAM10000"
    assert download.main(["--output_dir", str(root), "--test_set"]) == 0
    assert len(read_metadata(root)) == len(read_metadata(tmp_path / "ISIC2018_Task3_Test")) == 7
    assert f"{root}: complete" in capsys.readouterr().out


def test_ctrl_c_says_how_it_goes_on(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download_ham10000", stop)
    assert download.main(["--output_dir", str(tmp_path)]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_progress_is_a_bar_with_speed_and_time_left(monkeypatch, capsys):
    seconds = iter([0.0, 2.0])
    monkeypatch.setattr(download.time, "monotonic", lambda: next(seconds))
    progress = download.Progress("downloading a.zip", bytes_=True)
    progress(0, 400_000_000)
    progress(100_000_000, 400_000_000)
    assert capsys.readouterr().err == (
        "downloading a.zip ████░░░░░░░░░░░░  25%  100.00 MB of 400.00 MB  50.00 MB/s  6 s left\n"
    )


def test_the_table_of_sources_is_that_of_the_owners():
    assert sum(source.size for source in TRAINING) == 1_366_522_108 + 1_403_566_547 + 690_218
    assert sum(source.images for source in TRAINING) == 10_015
    assert sum(source.images for source in TEST) == 1_511
    for source in (*TRAINING, *TEST):
        assert source.address.startswith("https://dataverse.harvard.edu/api/access/datafile/")
        assert len(bytes.fromhex(source.md5)) == 16
