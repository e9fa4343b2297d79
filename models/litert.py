"""LiteRT, which was TensorFlow Lite: its interpreter.

The package ai-edge-litert has it without TensorFlow, which takes seconds to import. Where it is not
installed, the interpreter of TensorFlow takes its place.
"""

from __future__ import annotations

import importlib.metadata
import os
import warnings
from typing import Any

from models.backend import quiet, start_tensorflow

_PACKAGE = "ai-edge-litert"


def open_interpreter(flatbuffer: bytes) -> Any:
    """Return an interpreter, without tensors, for a flatbuffer that can be trusted."""
    try:
        with quiet():
            from ai_edge_litert import interpreter
    except ImportError:
        start_tensorflow()
        from tensorflow.lite.python import interpreter
    with quiet(), warnings.catch_warnings():
        # TensorFlow's announces that it will move to the other package.
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter is deprecated")
        return interpreter.Interpreter(model_content=flatbuffer, num_threads=_count_threads())


def _count_threads() -> int:
    """Return how many threads an operation may use, as many as one of TensorFlow."""
    given = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return int(given) if given.isdigit() and int(given) else os.cpu_count() or 1


def litert_version() -> str:
    """Return the package whose interpreter runs, and its version, for display."""
    for package in (_PACKAGE, "tensorflow"):
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "TensorFlow"
