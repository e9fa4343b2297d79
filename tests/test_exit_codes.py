"""Every row of the exit codes in docs/inputs.md."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from input_rows import (
    assert_printed,
    each_row,
    jpeg,
    raise_interrupt,
    raise_missing,
    raise_out_of_memory,
    read_rows,
)

import predict

pytestmark = pytest.mark.usefixtures("shallow_baseline", "without_notes")


def close_the_pipe(monkeypatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))


def patch_prediction(replacement: Callable) -> Callable:
    return lambda patch: patch.setattr("models.classifier.Classifier.__call__", replacement)


# Arguments besides the model, and what is replaced.
EXIT_CODES = {
    "everything is done": ("--image a.jpg", None),
    "some files cannot be used; each is named, the others are done": (
        "--image a.jpg gone.jpg",
        None,
    ),
    "wrong usage": ("--image a.jpg --models b.keras", None),
    "input that cannot be used": ("--image empty", None),
    "missing package": (
        "--image a.jpg --engine keras",
        lambda patch: patch.setattr("models.engines.start_tensorflow", raise_missing),
    ),
    "out of memory": ("--image a.jpg", patch_prediction(raise_out_of_memory)),
    "Ctrl-C": ("--image a.jpg", patch_prediction(raise_interrupt)),
    "output to a pipe that is closed, as by `head`": ("--image a.jpg", close_the_pipe),
}


def test_all_rows_of_exit_codes_are_tested():
    assert [title for title, _, _ in read_rows("Exit codes")] == list(EXIT_CODES)


@pytest.mark.parametrize(("title", "code", "line"), each_row("Exit codes"))
def test_exit_codes(untrained_model, tmp_path, capsys, monkeypatch, title, code, line):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.jpg").write_bytes(jpeg())
    arguments, prepare = EXIT_CODES[title]
    with monkeypatch.context() as patch:
        if prepare:
            prepare(patch)
        try:
            exit_code = predict.main([*arguments.split(), "--model_path", str(untrained_model)])
        except SystemExit as stop:  # from argparse
            exit_code = stop.code
    assert exit_code == int(code)
    assert_printed(line, capsys.readouterr().err)
