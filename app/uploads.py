"""The image in a request, itself or in a form with one file, and the square of it that counts."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

# Name of an image that came without one.
UNNAMED = "image"


class RejectedError(Exception):
    """A request that is rejected, with an HTTP status and a message for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_upload(content: bytes, headers: Headers) -> tuple[bytes, str]:
    """Return the content and the name of an uploaded image.

    Args:
        content: body of the request.
        headers: of the request.

    Raises:
        RejectedError: the body is a form without exactly one file, or a damaged one.
    """
    if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return content, UNNAMED

    async def body() -> AsyncIterator[bytes]:
        yield content

    parser = MultiPartParser(headers, body(), max_files=1, max_fields=0)
    # Images stay in memory: no part is large enough for a file.
    parser.spool_max_size = len(content) + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RejectedError(400, f"Expected a form with one file: {error.message}") from error
    except UnicodeError as error:  # the form names a character set that Python does not have
        raise RejectedError(400, "Expected a form with one file in UTF-8.") from error
    files = [value for value in form.values() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise RejectedError(400, f"Expected a form with one file, received {len(files)}.")
    return await files[0].read(), files[0].filename or UNNAMED


def read_square(query: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Return the square of the image that the model should see; None if a request names none.

    Args:
        query: the parameters of the request; `square` is "left,top,side length", in pixels of the
            upright image.

    Raises:
        RejectedError: it is something else.
    """
    text = query.get("square")
    if text is None:
        return None
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise RejectedError(
            400,
            "Expected square=LEFT,TOP,SIZE in pixels of the upright image, such as "
            f"square=120,40,450, received {text!r:.80}; leave it out for the default square.",
        )
    return values
