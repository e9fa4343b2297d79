"""Checkpoints that are damaged, or that somebody else wrote."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from training import TrainingError
from training.checkpoint import Checkpoint, load_checkpoint

_METRICS = ("loss", "accuracy", "balanced_accuracy")
ROW = {"epoch": 1, "phase": "head", "learning_rate": 0.1} | {
    prefix + key: 0.5 for key in _METRICS for prefix in ("", "val_")
}


def npy(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def write(path: Path, *, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    members = {"history": npy(json.dumps([ROW])), "model_0": npy(np.ones(3))} | members
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def test_a_checkpoint_is_read(tmp_path):
    found = load_checkpoint(write(tmp_path / "resume.npz", optimizer_0=npy(np.int64(7))))
    assert isinstance(found, Checkpoint)
    assert found.history == [ROW]
    assert (found.model[0].tolist(), found.optimizer[0].tolist()) == ([1.0] * 3, 7)


ARRAYS = {
    "a huge shape": header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**12,), }\n"),
    "a huger shape": header(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    ),
    "a broken header": header("{'descr': '<f4', ("),
    "a header of another type": header("7\n"),
    "a header that is too long": header("{" + " " * 60_000 + "}\n"),
    "a nested header": header("(" * 9000),
    "no dtype": header("{'descr': [], 'fortran_order': False, 'shape': (), }\n"),
    "a shape below zero": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"),
    "another version": b"\x93NUMPY\x09\x00",
    "text": npy(np.array("text")),
    "objects": header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"\0" * 8,
    "no array": b"text",
    "nothing": b"",
    "too little": npy(np.ones(3))[:-1],
    "too much": npy(np.ones(3)) + b"\0",
}
HISTORIES = {
    "no JSON": "text",
    "nested": "[" * 100_000,
    "a number": "7",
    "an object": "{}",
    "numbers": "[7]",
    "empty epochs": "[{}]",
    "another epoch": json.dumps([ROW | {"epoch": 2}]),
    "text as a metric": json.dumps([ROW | {"val_loss": "0.5"}]),
    "NaN as a metric": json.dumps([ROW | {"val_loss": float("nan")}]),
    "a huge metric": json.dumps([ROW | {"val_loss": 10**400}]),
    "no phase": json.dumps([ROW | {"phase": 7}]),
    "other metrics": json.dumps([ROW, {**ROW, "epoch": 2, "color": 1}]),
}


@pytest.mark.parametrize(
    "members",
    [{"model_0": data} for data in ARRAYS.values()]
    + [{"history": npy(text)} for text in HISTORIES.values()]
    + [{"history": npy(np.ones(3))}, {"model_2": npy(np.ones(3))}],
    ids=[*ARRAYS, *HISTORIES, "history of numbers", "a number is missing"],
)
def test_a_checkpoint_of_other_content_is_one_line(tmp_path, members):
    path = write(tmp_path / "resume.npz", **members)
    with pytest.raises(TrainingError, match=r"resume\.npz is damaged: .*; start a new run"):
        load_checkpoint(path)


@pytest.mark.parametrize("data", [npy(np.ones(3)), b"", b"text", b"PK\x03\x04"], ids=range(4))
def test_a_checkpoint_that_is_no_archive_is_one_line(tmp_path, data):
    (tmp_path / "resume.npz").write_bytes(data)
    with pytest.raises(TrainingError, match=r"resume\.npz is damaged: .*; start a new run"):
        load_checkpoint(tmp_path / "resume.npz")


def test_a_small_checkpoint_of_large_arrays_is_refused_unread(tmp_path):
    zeros = npy(np.zeros(10**6))
    path = write(tmp_path / "resume.npz", compression=zipfile.ZIP_DEFLATED, model_0=zeros)
    assert path.stat().st_size < len(zeros) / 100
    with pytest.raises(TrainingError, match="expected arrays that are not compressed"):
        load_checkpoint(path)
