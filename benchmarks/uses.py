"""What the scripts do with a file of every kind that `benchmarks.fuzz` damages.

Each function imports what its kind needs, once, and returns a function that takes one file; that
raises an `InputError` for a file that it refuses.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socketserver
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.intact import BODY, build_network

Use = Callable[[Path], None]


def _use_images() -> Use:
    from data.images import load_image

    return lambda path: load_image(path, 64)


def _use_tables() -> Use:
    from data.sources import read_dataset

    return lambda path: read_dataset(path.parent)


def _use_models() -> Use:
    from models.backend import start_tensorflow

    start_tensorflow()

    from models.classifier import load_classifier

    def use(path: Path) -> None:
        classifier = load_classifier(path)
        size = classifier.description.image_size
        classifier(np.zeros((1, size, size, 3), np.uint8))

    return use


def _use_weights() -> Use:
    from models.backend import start_tensorflow

    start_tensorflow()

    from models import ModelError
    from models.weights import load_weights

    network = build_network()

    def use(path: Path) -> None:
        # The name says whether Keras 3 or Keras 2 wrote it; a file that one refuses, the other may
        # use.
        older = path.with_name("older.h5")
        shutil.copy(path, older)
        try:
            load_weights(network, path, "tiny")
        except ModelError:
            load_weights(network, older, "tiny")

    return use


def _use_run_folders() -> Use:
    from models.backend import start_tensorflow

    start_tensorflow()

    from training.checkpoint import load_checkpoint
    from training.model_paths import choose_data_dir
    from training.run import Run

    def use(path: Path) -> None:
        folder = path.with_suffix(".d")
        shutil.rmtree(folder, ignore_errors=True)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        run = Run(folder)
        choose_data_dir(None, run.model)
        run.describe_state()
        run.check_settings(run.read_config())
        run.check_images({f"image{i}": ["train", "nv", f"lesion{i}", 7 + i] for i in range(8)})
        load_checkpoint(run.checkpoint)

    return use


class _Responder(socketserver.StreamRequestHandler):
    """Answers every request with the same bytes."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(self.server.content)


def _use_responses() -> Use:
    from data.fetch import fetch

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Responder)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/file"

    def use(path: Path) -> None:
        server.content = path.read_bytes()
        target = path.with_name("fetched")
        for name in ("fetched", "fetched.part"):
            target.with_name(name).unlink(missing_ok=True)
        fetch(
            url,
            target,
            md5=hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
            size=len(BODY),
            say=str,
            sleep=lambda seconds: None,
            timeout=2,
        )

    return use


USES = {
    **dict.fromkeys(("jpeg", "png", "tiff", "exif"), _use_images),
    "table": _use_tables,
    **dict.fromkeys(("model", "tflite"), _use_models),
    "weights": _use_weights,
    "run_folder": _use_run_folders,
    "http": _use_responses,
}
