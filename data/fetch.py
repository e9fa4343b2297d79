"""One file from the internet: resumed, retried, checked, and whole or not there.

Own code, because the libraries lack what 2.8 GB over a poor connection need: pooch and Keras's
`get_file` begin a file that was cut off from its start, parfive does not resume either, and
resumable-urlretrieve neither retries nor knows MD5.
"""

import hashlib
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from data import DataError

CHUNK = 1 << 18
# Seconds between two tries; beginning anew as soon as one of them brought something.
WAITS = (1, 2, 4, 8, 15, 30, 60, 60)
LONGEST_WAIT = 300
TIMEOUT = 60
# Such answers of a server may pass: too many requests, timeouts, and its own troubles.
_PASSING = {408, 425, 429, *range(500, 600)}


class _RestartError(Exception):
    """What lies here is no beginning of what the server has."""


class _TroubleError(Exception):
    """What may be over at the next try, or after as many seconds as the server says."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


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
    """Download a file; a file that is there and right is left alone.

    What has come is kept in `<path>.part`, across restarts of the program, and the rest asked for
    with HTTP Range. Cut connections, timeouts and answers that may pass are tried again after
    growing waits, or after as long as the server says.

    Args:
        url: http or https; redirects are followed.
        path: where the file belongs; its folder exists.
        md5: of the whole file, hexadecimal.
        size: of the whole file in bytes, where it is known.
        say: receives a line for each thing that did not go as it should.
        on_progress: called with the bytes that are here, and all, where the server tells.
        sleep: waits so many seconds.
        timeout: seconds without a byte after which the connection counts as cut.

    Raises:
        DataError: the file cannot be had, or is another one than expected.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.exists() and file_md5(path) == md5:
        return
    part = path.with_name(path.name + ".part")
    tries, fresh_starts = 0, 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, size=size, on_progress=on_progress, say=say, timeout=timeout)
            found = file_md5(part)
            if found == md5:
                os.replace(part, path)
                return
            bytes_here = part.stat().st_size
            raise _RestartError(f"its MD5 should be {md5}, is {found} ({bytes_here:,} bytes)")
        except _RestartError as error:
            part.unlink(missing_ok=True)
            fresh_starts += 1
            if fresh_starts > 1:
                raise DataError(
                    f"{url} is not the file expected, nor was it after another beginning: {error}; "
                    "fetch it by hand from its owners' page"
                ) from None
            say(f"{path.name}: {error}; begins anew")
        except _TroubleError as error:
            grown = part.exists() and part.stat().st_size > before
            tries = 0 if grown else tries + 1
            if tries > len(WAITS):
                raise DataError(
                    f"{url} cannot be had: {error}; tried {tries} times. What has come is kept: "
                    "the same command goes on later"
                ) from None
            wait = error.wait or WAITS[max(0, tries - 1)]
            here = part.stat().st_size if part.exists() else 0
            say(f"{path.name}: {error}; goes on at {here:,} bytes in {wait:g} s")
            sleep(wait)


def _receive(
    url: str,
    part: Path,
    *,
    size: int | None,
    on_progress: Callable[[int, int | None], None],
    say: Callable[[str], None],
    timeout: float,
) -> None:
    """Ask for what is missing and append it."""
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start == size:
        return
    # Compressed on its way, the places of a range would mean something else.
    headers = {"Accept-Encoding": "identity", "User-Agent": "ham10000-classifier"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        ) as answer:
            start, total = _place(answer, start, say, part)
            if size is not None and total not in (None, size):
                raise _RestartError(f"it should have {size:,} bytes, the server has {total:,}")
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                done = start
                while chunk := answer.read1(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    on_progress(done, total)
        expected = size if total is None else total
        if expected is not None and done < expected:
            raise _TroubleError(f"the connection was cut at {done:,} of {expected:,} bytes")
    except urllib.error.HTTPError as error:
        _judge(error, url, start)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"{url} should come from its owners, but the server cannot prove who it is: "
                f"{error.reason.verify_message}; look at the proxy and the clock of this machine"
            ) from error
        raise _TroubleError(f"no connection ({error.reason})") from error
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise _TroubleError(f"the connection was cut ({type(error).__name__})") from error


def _place(
    answer: http.client.HTTPResponse, start: int, say: Callable[[str], None], part: Path
) -> tuple[int, int | None]:
    """Return the place of the first byte of an answer, and the length of the whole file."""
    if answer.status == 206:
        # "bytes 100-199/200", or "*" for a length that is not known.
        span, _, length = answer.headers.get("Content-Range", "").partition(" ")[2].partition("/")
        if span.partition("-")[0] != str(start):
            raise _RestartError("the server sends another part than asked for")
        return start, int(length) if length.isdigit() else None
    if start:
        say(f"{part.stem}: the server cannot resume; begins anew")
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _judge(error: urllib.error.HTTPError, url: str, start: int) -> None:
    """Turn a server's refusal into what is to be done about it; nothing where all is here."""
    with error:
        if error.code == 416 and start:
            if error.headers.get("Content-Range", "") == f"bytes */{start}":
                return
            raise _RestartError(f"the server has less than the {start:,} bytes that are here")
        if error.code in _PASSING:
            wait = error.headers.get("Retry-After", "")
            seconds = min(float(wait), LONGEST_WAIT) if wait.isdigit() else 0.0
            raise _TroubleError(f"the server answers {error.code} {error.reason}", seconds)
        raise DataError(
            f"{url} should be a file, the server answers {error.code} "
            f"{str(error.reason).splitlines()[0]}; fetch it by hand from its owners' page"
        )


def file_md5(path: str | os.PathLike) -> str:
    """Return the MD5 of a file, hexadecimal: what the owners publish, against damage only."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
