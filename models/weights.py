"""Pretrained weights of a backbone: from Keras's cache, downloaded into it, or from a file."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np

from models import ModelError, WeightsUnavailableError
from models.backbones import cached_path
from models.hdf5 import check_hdf5
from support.files import first_line

_CONNECT_SECONDS = 10


def fetch_weights(url: str | None, file_name: str, *, commands: str | None = None) -> Path:
    """Return a weights file, downloaded if it is not in Keras's cache.

    Args:
        url: of the file; None if it cannot be downloaded.
        file_name: in the cache.
        commands: what to run for a file that cannot be downloaded.

    Raises:
        WeightsUnavailableError: it is not in the cache and cannot be downloaded; without a network
            this takes seconds, not minutes.
    """
    path = cached_path(file_name)
    if path.exists():
        return path
    other_start = "or start from a weights file of your own or from random weights"
    if url is None:
        raise WeightsUnavailableError(
            f"the ImageNet weights are not in {path.parent}; run {commands}, {other_start}"
        )
    remedy = f"download {url} to {path}, {other_start}"
    parts = urllib.parse.urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}/"
    if not _is_reachable(site):
        raise WeightsUnavailableError(
            f"the ImageNet weights are not in {path.parent}, and {site} did not respond within "
            f"{_CONNECT_SECONDS} s; {remedy}"
        )
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    with contextlib.suppress(OSError):  # Keras then takes a folder for temporary files
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # `models.backend` imports Keras without its own folder.
        folder = os.fspath(path.parent.parent)
        return Path(keras.utils.get_file(file_name, url, cache_subdir="models", cache_dir=folder))
    except Exception as error:  # get_file raises plain Exception for every failed download
        raise WeightsUnavailableError(
            f"the ImageNet weights could not be downloaded: {first_line(error)}; {remedy}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def load_weights(network: keras.Model, path: str | os.PathLike, title: str) -> None:
    """Load the weights of a network from a file, which may have been written by anybody.

    Args:
        network: without its head; receives the weights.
        path: a file that `save_weights` of Keras 3 wrote, `.weights.h5`, or Keras 2, `.h5`.
        title: of the network, for messages.

    Raises:
        ModelError: the file is missing, damaged, or has no weights for this network.
    """
    path, wanted = Path(path), f"expected weights of {title} without its head"
    if not path.is_file():
        raise ModelError(f"expected imagenet or a weights file, found no file {path}")
    if path.suffix == ".keras":
        # Its images might be among the test images of the new model, which could not know them.
        raise ModelError(
            f"{path}: {wanted} (.weights.h5 or .h5), received a whole model; use imagenet, or the "
            "file that save_weights of a backbone writes"
        )
    if path.suffix not in (".h5", ".hdf5") or not h5py.is_hdf5(path):
        raise ModelError(
            f"{path}: {wanted} (.weights.h5 or .h5), received another format; use imagenet, or the "
            "file that save_weights of a backbone writes"
        )
    try:
        check_hdf5(path)
        with warnings.catch_warnings():
            # Keras warns about each layer before it raises an error about all.
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a file of weights alone") from error
    except ValueError as error:
        raise ModelError(
            f"{path}: {wanted}, received other layers or shapes; choose the model that they are of"
        ) from error
    except Exception as error:  # damaged HDF5 fails in many ways
        raise ModelError(f"{path}: the file is damaged: {first_line(error)}") from error
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise ModelError(f"{path}: the weights contain NaN or infinity; use another file")


def _is_reachable(site: str) -> bool:
    """Tell whether a site responds; in a thread, since name resolution has no timeout."""
    responded = threading.Event()

    def connect() -> None:
        try:
            with urllib.request.urlopen(site, timeout=_CONNECT_SECONDS):
                responded.set()
        except urllib.error.HTTPError:
            responded.set()  # an error page is a response
        except (OSError, ValueError, http.client.HTTPException):
            pass  # it does not respond as a web server does

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS)
    return responded.is_set()
