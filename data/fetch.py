"""Download of one file: resumed, retried, verified, and whole or not there.

Our own code, because the libraries lack what 2.8 GB over a poor connection need: pooch and Keras's
`get_file` start an interrupted file over, parfive does not resume either, and resumable-urlretrieve
neither retries nor knows MD5.
"""

import hashlib
import http.client
import os
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from data import DataError
from support.files import one_line

_CHUNK_SIZE = 1 << 18
# Seconds between attempts; back to the first after an attempt that received something.
WAITS = (1, 2, 4, 8, 15, 30, 60, 60)
# Attempts where no server has this name: without internet access, no wait helps.
_UNKNOWN_HOST_ATTEMPTS = 3
_LONGEST_WAIT = 300
TIMEOUT = 60
# Responses of a server that may be temporary: too many requests, timeouts, internal errors.
_TEMPORARY_STATUS = {408, 425, 429, *range(500, 600)}


class _RestartError(Exception):
    """The bytes received so far are not the beginning of the server's file."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, and says when encryption ends.

    The checksum decides whether a file is the expected one, whoever sends it.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def redirect_request(self, request, file, code, reason, headers, url):
        """Return the request of a redirect.

        Raises:
            ValueError: it leads to another protocol.
        """
        old, new = (urllib.parse.urlsplit(address).scheme for address in (request.full_url, url))
        if new not in ("http", "https"):
            raise ValueError(f"expected a redirect to http or https, received one to {new}")
        if (old, new) == ("https", "http"):
            self.say("redirected from https to http: not encrypted; only the checksum protects it")
        return super().redirect_request(request, file, code, reason, headers, url)


class _TemporaryError(Exception):
    """A failure that may be over at the next attempt, or after the seconds the server asks for."""

    def __init__(self, message: str, *, wait: float = 0.0, attempts: int = len(WAITS) + 1) -> None:
        super().__init__(message)
        self.wait, self.attempts = wait, attempts


def fetch(
    url: str,
    path: str | os.PathLike,
    *,
    md5: str,
    size: int | None = None,
    say: Callable[[str], None] = print,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    sleep: Callable[[float], None] = time.sleep,
    timeout: float = TIMEOUT,
) -> None:
    """Download a file, unless it is there already.

    What is received is kept in `<path>.part`, also when the program ends, and the rest is requested
    with HTTP Range. Lost connections, timeouts and temporary errors of the server are retried
    after increasing waits, or after the wait that the server asks for.

    Args:
        url: http or https; redirects to these are followed.
        path: the file to write; its folder exists.
        md5: MD5 of the whole file, hexadecimal.
        size: size of the whole file in bytes, if known.
        say: called with a line for each problem.
        on_progress: called with the bytes received and, if the server tells, their total.
        sleep: waits for a number of seconds.
        timeout: seconds without a byte after which the connection counts as lost.

    Raises:
        DataError: the file cannot be downloaded, or is not the expected one.
        OSError: it cannot be written.
    """
    path = Path(path)
    say_line = _say_about(path.name, say)
    if path.exists() and file_md5(path) == md5:
        return
    part = path.with_name(path.name + ".part")
    failures = restarts = 0
    while True:
        before = _file_size(part)
        try:
            _receive(url, part, size=size, on_progress=on_progress, say=say_line, timeout=timeout)
            found = file_md5(part)
            if found == md5:
                os.replace(part, path)
                return
            raise _RestartError(
                f"expected MD5 {md5}, received {found} ({_file_size(part):,} bytes)"
            )
        except _RestartError as error:
            part.unlink(missing_ok=True)
            restarts += 1
            if restarts > 1:
                raise DataError(
                    f"{url}: not the expected file, even after a second download: {error}; "
                    "download it by hand from its owners' page"
                ) from None
            say_line(f"{error}; starting over")
        except _TemporaryError as error:
            received = _file_size(part)
            failures = 0 if received > before else failures + 1
            if failures >= error.attempts:
                raise DataError(
                    f"{url}: cannot be downloaded after {failures} attempts: {error}; what was "
                    "received is kept: run the same command later to resume, or download this "
                    f"address by other means, to {path}"
                ) from None
            wait = error.wait or WAITS[max(0, failures - 1)]
            say_line(f"{error}; resuming at {received:,} bytes in {wait:g} s")
            sleep(wait)


def _say_about(name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that shows a line about a file; a server's words may hold anything."""
    return lambda line: say(one_line(f"{name}: {line}"))


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(
    url: str,
    part: Path,
    *,
    size: int | None,
    on_progress: Callable[[int, int | None], None],
    say: Callable[[str], None],
    timeout: float,
) -> None:
    """Request the missing bytes and append them."""
    start = _file_size(part)
    if size is not None and start == size:
        return
    # In a compressed response, the positions of a range would mean something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ham10000-classifier"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with _open(urllib.request.Request(url, headers=headers), say, timeout) as response:
            start, total = _read_range(response, start, say)
            if size is not None and total not in (None, size):
                raise _RestartError(f"expected {size:,} bytes, the server has {total:,}")
            expected = size if total is None else total
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                done = start
                while chunk := response.read1(_CHUNK_SIZE):
                    done += len(chunk)
                    if expected is not None and done > expected:
                        raise _RestartError(f"expected {expected:,} bytes, the server sends more")
                    file.write(chunk)
                    on_progress(done, total)
        if expected is not None and done < expected:
            raise _TemporaryError(f"connection lost at {done:,} of {expected:,} bytes")
    except urllib.error.HTTPError as error:
        _handle_status(error, url, start)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"{url}: the server cannot prove its identity ({error.reason.verify_message}); "
                "check the proxy and the clock of this machine"
            ) from error
        if isinstance(error.reason, socket.gaierror):
            host = urllib.parse.urlsplit(url).hostname
            raise _TemporaryError(
                f"no server {host} is known here ({error.reason}); is there internet access?",
                attempts=_UNKNOWN_HOST_ATTEMPTS,
            ) from error
        raise _TemporaryError(f"no connection ({error.reason})") from error
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise _TemporaryError(f"connection lost ({type(error).__name__})") from error


def _open(
    request: urllib.request.Request, say: Callable[[str], None], timeout: float
) -> http.client.HTTPResponse:
    """Send a request and follow redirects.

    Raises:
        DataError: a redirect cannot be followed.
    """
    try:
        return urllib.request.build_opener(Redirects(say)).open(request, timeout=timeout)
    except (ValueError, http.client.InvalidURL) as error:
        raise DataError(
            f"{request.full_url}: the server redirects to an address that cannot be used: {error};"
            " download the file by hand from its owners' page"
        ) from error


def _read_range(
    response: http.client.HTTPResponse, start: int, say: Callable[[str], None]
) -> tuple[int, int | None]:
    """Return the position of the first byte of a response, and the size of the whole file."""
    if response.status == 206:
        # "bytes 100-199/200", or "*" for an unknown size.
        span, _, size = response.headers.get("Content-Range", "").partition(" ")[2].partition("/")
        if span.partition("-")[0] != str(start):
            raise _RestartError("the server sent another part than requested")
        return start, _read_count(size)
    if start:
        say("the server cannot resume; starting over")
    return 0, _read_count(response.headers.get("Content-Length", ""))


def _read_count(text: str) -> int | None:
    """Return the number in a header; None if there is none that a file could have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _handle_status(error: urllib.error.HTTPError, url: str, start: int) -> None:
    """Raise the error that an HTTP status stands for; return if nothing is missing."""
    with error:
        if error.code == 416 and start:
            if error.headers.get("Content-Range", "") == f"bytes */{start}":
                return
            raise _RestartError(f"the server has fewer than the {start:,} bytes received before")
        # Not every server sends a reason after the number.
        response = f"{error.code} {error.reason}".partition("\n")[0].strip()[:100]
        if error.code in _TEMPORARY_STATUS:
            seconds = _read_count(error.headers.get("Retry-After", "")) or 0
            wait = float(min(seconds, _LONGEST_WAIT))
            raise _TemporaryError(f"the server responded {response}", wait=wait)
        raise DataError(
            f"{url}: the server responded {response}; download the file by hand from "
            "its owners' page"
        )


def file_md5(path: str | os.PathLike) -> str:
    """Return the MD5 of a file, hexadecimal: published by the owners, against damage only."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
