"""Pretrained weights of a backbone: from Keras's cache, or downloaded into it."""

from __future__ import annotations

import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import keras

from models import WeightsUnavailableError
from support.files import first_line

CONNECT_SECONDS = 10


def cached_path(file_name: str) -> Path:
    """Return where Keras keeps a weights file, whether or not it exists."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return home / "models" / file_name


def fetch_weights(url: str, file_name: str) -> Path:
    """Return a weights file, downloaded if it is not in Keras's cache.

    Args:
        url: of the file.
        file_name: in the cache.

    Raises:
        WeightsUnavailableError: it is not in the cache and cannot be downloaded; without a network
            this takes seconds, not minutes.
    """
    path = cached_path(file_name)
    if path.exists():
        return path
    remedy = (
        f"download {url} to {path}, or start from a weights file of your own or from random weights"
    )
    parts = urllib.parse.urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}/"
    if not _is_reachable(site):
        raise WeightsUnavailableError(
            f"the ImageNet weights are not in {path.parent}, and {site} did not respond within "
            f"{CONNECT_SECONDS} s; {remedy}"
        )
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        return Path(keras.utils.get_file(file_name, url, cache_subdir="models"))
    except Exception as error:  # get_file raises plain Exception for every failed download
        raise WeightsUnavailableError(
            f"the ImageNet weights could not be downloaded: {first_line(error)}; {remedy}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _is_reachable(site: str) -> bool:
    """Tell whether a site responds; in a thread, since name resolution has no timeout."""
    responded = threading.Event()

    def connect() -> None:
        try:
            with urllib.request.urlopen(site, timeout=CONNECT_SECONDS):
                responded.set()
        except urllib.error.HTTPError:
            responded.set()  # an error page is a response
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return responded.is_set()
