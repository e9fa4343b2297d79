"""The web server of the page: an image is read from the request into memory and never stored."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from config import AppConfig
from data import DataError
from data.ham10000 import DIAGNOSES

STATIC = Path(__file__).parent / "static"
FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
# With these, the browser blocks requests of the page to other hosts, and other sites that embed it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_app(
    predict: Callable[[bytes], dict],
    settings: AppConfig,
    *,
    examples: dict[str, bytes],
    about: dict,
    hosts: tuple[str, ...] = (),
) -> Starlette:
    """Build the web application.

    Args:
        predict: from the content of an image file to JSON values; raises `DataError`. Called by
            one thread at a time.
        settings: limits of uploads and of the queue.
        examples: JPEG files by the class that they imitate.
        about: what the page shows before a prediction, as JSON values.
        hosts: host names that requests may use, empty for any. Without them, a web site whose name
            resolves to this machine could read the page (DNS rebinding).
    """
    shown = [{"name": name, "title": DIAGNOSES[name]} for name in examples]
    limits = {"max_upload_bytes": settings.max_upload_bytes, "max_pixels": settings.max_pixels}

    async def get_file(request: Request) -> Response:
        return FileResponse(STATIC / FILES[request.url.path])

    async def get_settings(request: Request) -> Response:
        return JSONResponse({"examples": shown, **about, **limits})

    async def get_example(request: Request) -> Response:
        content = examples.get(request.path_params["name"])
        if content is None:
            return PlainTextResponse("no such example", 404)
        return Response(content, media_type="image/jpeg")

    app = Starlette(
        routes=[
            *(Route(path, get_file) for path in FILES),
            Route("/settings", get_settings),
            Route("/examples/{name}", get_example),
            Route("/predict", PredictionQueue(predict, settings).respond, methods=["POST"]),
        ]
    )
    app.add_middleware(Guard, hosts=hosts)
    return app


class PredictionQueue:
    """Responds to uploads, one at a time.

    Args:
        predict: as for `build_app`.
        settings: as for `build_app`.
    """

    def __init__(self, predict: Callable[[bytes], dict], settings: AppConfig) -> None:
        self._predict, self._settings = predict, settings
        self._one_at_a_time = asyncio.Semaphore(1)
        self._waiting = 0

    async def respond(self, request: Request) -> Response:
        """Return the prediction for an uploaded image, or a message for the user."""
        try:
            return JSONResponse(await self._run(request))
        except RejectedError as error:
            return _message(error.status, str(error))
        except TimeoutError:
            return _message(408, "The upload took too long. Try again.")
        except ClientDisconnect:
            return _message(400, "The upload was interrupted.")
        except DataError as error:
            text = str(error)
            return _message(400, f"{text[:1].upper()}{text[1:]}.")
        except Exception:
            logging.getLogger(__name__).exception("no prediction for an image")
            return _message(
                500, "Something went wrong. The console where the program runs shows the error."
            )

    async def _run(self, request: Request) -> dict:
        if self._waiting >= self._settings.max_waiting:
            raise RejectedError(503, "Too many images are waiting. Try again in a moment.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._settings.upload_seconds):
                content = await _read_body(request, self._settings.max_upload_bytes)
            async with self._one_at_a_time:
                return await run_in_threadpool(self._predict, content)
        finally:
            self._waiting -= 1


class RejectedError(Exception):
    """A request that is rejected, with an HTTP status and a message for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """Middleware that adds the headers to every response and rejects unknown host names.

    Args:
        app: the application.
        hosts: as for `build_app`.
    """

    def __init__(self, app: Callable, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        host = Request(scope).url.hostname or ""
        if self.hosts and host not in self.hosts:
            rejection = PlainTextResponse("this page is available on this machine only", 421)
            await rejection(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """Read the content of a request, at most `max_bytes`."""
    rejection = RejectedError(
        413, f"The file is larger than {max_bytes / 1e6:g} MB. Choose a smaller one."
    )
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise rejection
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > max_bytes:
            raise rejection
    return bytes(content)


def _message(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
