"""The web server of the page: an image is read from the request into memory and never stored."""

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from app.examples import Example
from app.guard import Guard, error_response
from app.settings import AppConfig
from app.uploads import RejectedError, read_square, read_upload
from data import DataError
from data.crop import Square
from support.files import capitalize

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": "page.html",
    "/docs": "docs.html",
    "/page.css": "page.css",
    "/page.js": "page.js",
    "/dom.js": "dom.js",
    "/save.js": "save.js",
    "/several.js": "several.js",
    "/crop.js": "crop.js",
    "/icon.svg": "icon.svg",
}
TOO_MANY = "Too many images are waiting. Try again in a moment."
_LENGTH = re.compile("[0-9]{1,19}")


class Predicts(Protocol):
    """What the server asks for a prediction, by one thread at a time; see `app.prediction`."""

    def __call__(
        self, content: bytes, class_name: str | None = None, square: Square | None = None
    ) -> dict:
        """Return what the page shows, as JSON values; raises `DataError`."""

    def preview(self, content: bytes) -> dict:
        """Return an image and its default square, as JSON values; raises `DataError`."""

    def row(self, content: bytes, name: str, square: Square | None = None) -> dict:
        """Return the row of a table of predictions, as JSON values; raises `DataError`."""


def build_app(
    predict: Predicts,
    settings: AppConfig,
    *,
    examples: dict[str, Example],
    about: dict,
    hosts: tuple[str, ...] = (),
) -> Starlette:
    """Build the web application.

    Args:
        predict: from the content of an image file to JSON values.
        settings: limits of uploads and of the queue.
        examples: images to try the page with, by name.
        about: what the page shows before a prediction, as JSON values.
        hosts: as for `Guard`.
    """
    shown = [{"name": name, "title": example.title} for name, example in examples.items()]
    limits = {"max_upload_bytes": settings.max_upload_bytes, "max_pixels": settings.max_pixels}

    async def get_file(request: Request) -> Response:
        return FileResponse(STATIC / FILES[request.url.path])

    async def get_settings(request: Request) -> Response:
        return JSONResponse({"examples": shown, **about, **limits})

    async def get_example(request: Request) -> Response:
        example = examples.get(request.path_params["name"])
        if example is None:
            return error_response(404, "There is no such example.")
        return Response(example.content, media_type="image/jpeg")

    async def get_health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    queue = PredictionQueue(settings)

    async def preview_for_page(request: Request) -> Response:
        return await queue.respond(request, lambda content, _: predict.preview(content))

    async def predict_for_page(request: Request) -> Response:
        # The class to explain; by default the predicted one.
        class_name = request.query_params.get("class")
        return await queue.respond(
            request,
            lambda content, _: predict(content, class_name, read_square(request.query_params)),
        )

    async def predict_for_programs(request: Request) -> Response:
        return await queue.respond(
            request,
            lambda content, name: predict.row(content, name, read_square(request.query_params)),
        )

    app = Starlette(
        routes=[
            *(Route(path, get_file) for path in FILES),
            Route("/settings", get_settings),
            Route("/examples/{name}", get_example),
            Route("/healthz", get_health),
            Route("/preview", preview_for_page, methods=["POST"]),
            Route("/predict", predict_for_page, methods=["POST"]),
            Route("/api/predict", predict_for_programs, methods=["POST"]),
        ]
    )
    # Redirects repeat the host name of the request.
    app.router.redirect_slashes = False
    app.add_middleware(Guard, hosts=hosts)
    return app


class PredictionQueue:
    """Responds to uploads, one at a time.

    Args:
        settings: as for `build_app`.
    """

    def __init__(self, settings: AppConfig) -> None:
        self._settings = settings
        self._one_at_a_time = asyncio.Semaphore(1)
        self._waiting = self._arrived = 0

    async def respond(self, request: Request, predict: Callable[[bytes, str], dict]) -> Response:
        """Return what `predict` makes of an upload, or a message for the user.

        Args:
            request: with an image, which may be in a form.
            predict: from the content and the name of an image to JSON values.
        """
        try:
            return JSONResponse(await self._run(request, predict))
        except RejectedError as error:
            return error_response(error.status, str(error))
        except TimeoutError:
            return error_response(408, "The upload took too long. Try again.")
        except ClientDisconnect:
            return error_response(400, "The upload was interrupted.")
        except DataError as error:
            return error_response(400, f"{capitalize(str(error))}.")
        except MemoryError:
            return error_response(503, "The program is out of memory. Choose a smaller image.")
        except Exception:
            logging.getLogger(__name__).exception("no prediction for an image")
            return error_response(
                500, "Something went wrong. The console where the program runs shows the error."
            )

    async def _run(self, request: Request, predict: Callable[[bytes, str], dict]) -> dict:
        self._reject_if_full()
        async with asyncio.timeout(self._settings.upload_seconds):
            content, name = await read_upload(await self._read_body(request), request.headers)
        # Others may have arrived during the upload.
        self._reject_if_full()
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                return await run_in_threadpool(predict, content, name)
        finally:
            self._waiting -= 1

    def _reject_if_full(self) -> None:
        if self._waiting >= self._settings.max_waiting:
            raise RejectedError(503, TOO_MANY)

    async def _read_body(self, request: Request) -> bytes:
        """Read the content of an upload.

        All uploads at a time may take as much memory as those that wait: a limit on their number
        would let a few slow ones block the page.
        """
        max_bytes = self._settings.max_upload_bytes
        too_large = RejectedError(
            413, f"The file is larger than {max_bytes / 1e6:g} MB. Choose a smaller one."
        )
        length = request.headers.get("content-length", "")
        if _LENGTH.fullmatch(length) and int(length) > max_bytes:
            raise too_large
        content = bytearray()
        try:
            async for chunk in request.stream():
                content += chunk
                self._arrived += len(chunk)
                if len(content) > max_bytes:
                    raise too_large
                if self._arrived > max_bytes * self._settings.max_waiting:
                    raise RejectedError(503, TOO_MANY)
            return bytes(content)
        finally:
            self._arrived -= len(content)
