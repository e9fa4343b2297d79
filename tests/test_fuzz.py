"""The fuzzer damages files as its seed says, and survives what they do."""

import contextlib
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import fuzz
from benchmarks.damage import damage_exif, damage_json, damage_tflite
from benchmarks.uses import USES
from support import InputError


@pytest.mark.slow
def test_damaged_files_of_every_kind_are_used_or_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(fuzz.__file__).parent.parent)
    counts = fuzz.run(list(fuzz.KINDS), 12, seed=1, folder=tmp_path)
    assert capsys.readouterr().out == ""
    assert {found.total() for found in counts.values()} == {12}
    assert all(set(found) <= {"used", "refused"} for found in counts.values())
    # The pixels of an image do not depend on its metadata.
    assert counts.pop("exif") == {"used": 12}
    assert all(found["refused"] for found in counts.values())


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> dict[str, list[bytes]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(fuzz.__file__).parent.parent)
        return fuzz.intact_files(tmp_path_factory.mktemp("seeds"), 0)


@pytest.mark.parametrize("kind", fuzz.DAMAGE)
def test_damage_depends_only_on_the_seed_and_changes_the_file(intact, kind):
    content = intact[kind][-1]
    damaged = [
        [fuzz.DAMAGE[kind](content, np.random.default_rng([seed, case])) for case in range(3)]
        for seed in (0, 0, 1)
    ]
    assert damaged[0] == damaged[1] != damaged[2]
    assert content not in damaged[0]


@pytest.mark.parametrize(
    ("kind", "name", "used"),
    [
        ("weights", "case.weights.h5", [True, True]),
        ("run_folder", "case.run_folder", [True]),
        # A file and all of a range; the server is busy; the file has moved; it is gone.
        ("http", "case.http", [True, True, False, False, False]),
    ],
)
def test_intact_files_are_used(intact, kind, name, used, tmp_path):
    use, path = USES[kind](), tmp_path / name
    for content, is_used in zip(intact[kind], used, strict=True):
        path.write_bytes(content)
        with contextlib.nullcontext() if is_used else pytest.raises(InputError):
            use(path)


def test_damaged_json_is_still_valid_json():
    intact = json.dumps({"a": [1, {"b": 2}], "c": "d"}).encode()
    for case in range(50):
        json.loads(damage_json(intact, np.random.default_rng(case)))


def test_damaged_exif_leaves_the_pixels_as_they_were(intact):
    for content in intact["exif"][:2]:  # JPEG is encoded anew, PNG without a loss
        damaged = damage_exif(content, np.random.default_rng(0))
        images = [Image.open(io.BytesIO(file)) for file in (content, damaged)]
        difference = np.abs(np.subtract(*(np.asarray(image, int) for image in images)))
        assert images[0].info["exif"] != images[1].info.get("exif")
        assert difference.mean() < 3


def test_most_damaged_tflite_files_have_a_checksum_that_fits(intact):
    found = []
    for case in range(100):
        damaged = damage_tflite(intact["tflite"][0], np.random.default_rng(case))
        try:
            with zipfile.ZipFile(io.BytesIO(damaged)) as archive:
                (member,) = archive.infolist()
                record = json.loads(archive.read(member))
            flatbuffer = damaged[: member.header_offset]
            found.append(hashlib.sha256(flatbuffer).hexdigest() == record["sha256"])
        except (zipfile.BadZipFile, ValueError, KeyError):
            found.append(False)
    assert sum(found) > 70


def test_a_process_that_dies_is_a_crash_and_a_new_one_takes_the_next_case(tmp_path):
    worker = fuzz.Worker("jpeg")
    path = tmp_path / "a.jpg"
    path.write_bytes(b"not an image")
    assert worker.ask(path) == "refused"
    first = worker.process
    # As if the case had killed it: no outcome is written.
    first.kill()
    first.wait()
    assert worker.ask(path) == "crashed: the process died, exit code -9"
    assert worker.ask(path) == "refused"
    assert worker.process is not first
    worker.stop()


def test_a_case_over_the_limit_of_memory_is_counted(tmp_path, monkeypatch, capsys):
    class Worker(fuzz.Worker):
        def ask(self, path: Path) -> str:
            return "over 2 GB: 2.5 GB, used"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fuzz, "Worker", Worker)
    monkeypatch.setattr(fuzz, "intact_files", lambda folder, seed: {"jpeg": [b"a" * 100]})
    assert fuzz.measure(["--cases", "2", "--kinds", "jpeg"]) == 1
    output = capsys.readouterr().out
    assert "runs/fuzz/jpeg-0-1.jpeg: over 2 GB: 2.5 GB, used\n" in output
    assert re.search(r"^jpeg +0 +0 +0 +0 +2$", output, re.MULTILINE)
