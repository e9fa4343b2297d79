"""An HDF5 file that would hang or fill the memory is tried in another process first."""

import io
import signal

import h5py
import numpy as np
import pytest

from models import ModelError
from models.hdf5 import check_hdf5


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["layer/kernel"] = np.zeros((3, 4), np.float32)
        file.attrs["layer_names"] = [b"layer"]
    return path


def test_an_intact_file_is_accepted_from_a_path_and_from_memory(path):
    check_hdf5(path)
    check_hdf5(io.BytesIO(path.read_bytes()))


def test_a_file_with_two_to_the_power_of_forty_paths_is_read_once(tmp_path):
    path = tmp_path / "fan.h5"
    with h5py.File(path, "w") as file:
        inner = file.create_group("g0")
        for level in range(1, 41):
            group = file.create_group(f"g{level}")
            group["a"] = group["b"] = inner
            inner = group
    check_hdf5(path)


def test_links_to_other_files_are_refused(path, tmp_path):
    with h5py.File(path, "a") as file:
        file["other"] = h5py.ExternalLink(str(tmp_path / "missing.h5"), "/a")
    with pytest.raises(ModelError, match=r"^expected weights inside the file, /other is stored"):
        check_hdf5(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"^the file is damaged: .*truncated[^\n]*$"):
        check_hdf5(path)


def test_an_attribute_of_gigabytes_is_refused(path, monkeypatch):
    monkeypatch.setattr("models.hdf5.h5py.File", lambda *_: bytearray(3 << 30))
    with pytest.raises(ModelError, match=r"it takes too much memory$"):
        check_hdf5(path)


def test_a_file_that_keeps_the_library_busy_for_ever_is_refused(path, monkeypatch):
    monkeypatch.setattr("models.trial._MAX_SECONDS", 1)
    monkeypatch.setattr("models.hdf5.h5py.File", lambda *_: signal.pause())
    with pytest.raises(ModelError, match=r"it takes too long$"):
        check_hdf5(path)
