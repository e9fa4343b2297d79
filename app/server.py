"""The page's web server: pictures are read from the request into memory, and kept nowhere."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from data import DataError
from data.ham10000 import DIAGNOSES

STATIC = Path(__file__).parent / "static"
FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
# The browser itself keeps the page from asking other hosts, and other sites from showing it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """A request that is not answered; holds the HTTP status and a sentence for the user."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def build_app(
    answer: Callable[[bytes], dict],
    *,
    examples: dict[str, bytes],
    note: str = "",
    hosts: tuple[str, ...] = (),
    max_upload_bytes: int,
    max_waiting: int,
    upload_seconds: float,
) -> Starlette:
    """Build the application.

    Args:
        answer: from the bytes of a picture to JSON values; raises `DataError`; called by one
            thread at a time.
        examples: JPEG files by the class that they imitate.
        note: what the page says below every answer; empty for nothing.
        hosts: names by which the page may be asked for, all when empty. Other web pages could reach
            a page on this machine by a name of their own that leads here.
        max_upload_bytes: larger files are refused.
        max_waiting: requests in work or waiting, at most.
        upload_seconds: a picture that takes longer to arrive is refused.
    """
    one_at_a_time = asyncio.Semaphore(1)
    waiting = 0

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / FILES[request.url.path])

    async def example(request: Request) -> Response:
        content = examples.get(request.path_params["name"])
        if content is None:
            return PlainTextResponse("no such example", 404)
        return Response(content, media_type="image/jpeg")

    async def settings(request: Request) -> Response:
        shown = [{"name": name, "title": DIAGNOSES[name]} for name in examples]
        return JSONResponse({"examples": shown, "note": note, "bytes": max_upload_bytes})

    async def predict(request: Request) -> Response:
        nonlocal waiting
        try:
            if waiting >= max_waiting:
                raise RefusedError(503, "Too many pictures are waiting; try again in a moment.")
            waiting += 1
            try:
                async with asyncio.timeout(upload_seconds):
                    content = await read_body(request, max_upload_bytes)
                async with one_at_a_time:
                    return JSONResponse(await run_in_threadpool(answer, content))
            finally:
                waiting -= 1
        except RefusedError as refusal:
            return sentence(refusal.status, str(refusal))
        except TimeoutError:
            return sentence(408, "The picture took too long to arrive; try again.")
        except DataError as error:
            return sentence(400, f"{str(error)[:1].upper()}{str(error)[1:]}.")
        except ClientDisconnect:
            return sentence(400, "The picture did not arrive.")
        except Exception:
            logging.getLogger(__name__).exception("a picture could not be answered")
            return sentence(500, "Something went wrong here; the console of the page says what.")

    app = Starlette(
        routes=[
            *(Route(path, page) for path in FILES),
            Route("/settings", settings),
            Route("/examples/{name}", example),
            Route("/predict", predict, methods=["POST"]),
        ]
    )
    app.add_middleware(Guard, hosts=hosts)
    return app


class Guard:
    """Adds the headers to every response, and refuses names that are not this page's."""

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

        asked = Request(scope).url.hostname or ""
        if self.hosts and asked not in self.hosts:
            refusal = PlainTextResponse("this page is for this machine only", 421)
            await refusal(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's content, and stop at the limit.

    Raises:
        RefusedError: there is more.
    """
    refusal = RefusedError(
        413, f"This file is larger than {limit / 1e6:.0f} MB; choose a smaller one."
    )
    if request.headers.get("content-length", "0").isdigit() and (
        int(request.headers.get("content-length", "0")) > limit
    ):
        raise refusal
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise refusal
    return bytes(content)


def sentence(status: int, text: str) -> JSONResponse:
    """Answer with a sentence for the user."""
    return JSONResponse({"error": text}, status)
