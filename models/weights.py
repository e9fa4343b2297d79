"""The weights that a backbone starts from: from Keras's cache, or from their site."""

import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import keras

from models import WeightsUnavailableError
from models.bundle import first_line

CONNECT_SECONDS = 10


def cached_path(file_name: str) -> Path:
    """Return where Keras keeps a weights file, whether or not it is there."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    return home / "models" / file_name


def fetch_weights(url: str, file_name: str) -> Path:
    """Return a weights file, downloaded if it is not in Keras's cache.

    Args:
        url: of the file.
        file_name: in the cache.

    Raises:
        WeightsUnavailableError: it is not to be had; known within seconds, network or not.
    """
    path = cached_path(file_name)
    if path.exists():
        return path
    advice = (
        f"put {file_name} ({url}) into {path.parent}, name a weights file with --weights PATH, or "
        "start from random weights with --weights none"
    )
    parts = urllib.parse.urlsplit(url)
    site = f"{parts.scheme}://{parts.netloc}/"
    if not _site_answers(site):
        raise WeightsUnavailableError(
            f"the ImageNet weights are not in {path.parent}, and {site} does not answer within "
            f"{CONNECT_SECONDS} s; {advice}"
        )
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        return Path(keras.utils.get_file(file_name, url, cache_subdir="models"))
    except Exception as error:  # get_file raises plain Exception for every broken download
        raise WeightsUnavailableError(
            f"the ImageNet weights could not be fetched: {first_line(error)}; {advice}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _site_answers(site: str) -> bool:
    """Tell whether the site of the weights answers; a broken resolver cannot make this wait."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(site, timeout=CONNECT_SECONDS):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()  # a refusal is an answer
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()
