"""Which requests the page accepts, and the headers of every response."""

import asyncio
import ipaddress
import re
from collections.abc import Callable

from starlette.responses import JSONResponse

# With these, the browser blocks requests of the page to other hosts, and other sites that embed it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?))(?::([0-9]{1,5}))?")
# "none": the user started the request, not a site.
_OWN_SITE = ("same-origin", "none")


class Guard:
    """Middleware that rejects requests for other hosts or of other sites, and adds `HEADERS`.

    Args:
        app: the application.
        hosts: host names that requests may use, empty for any. Without them, a web site whose name
            resolves to this machine could read the page (DNS rebinding).
    """

    def __init__(self, app: Callable, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, tuple(host.lower() for host in hosts)

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: dict) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        app = self._reject(scope) or self.app
        try:
            await app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # Ctrl-C; raised further, it would be printed with its traceback.
            if not started:
                stopped = error_response(503, "The program was stopped.")
                await stopped(scope, receive, send_with_headers)

    def _reject(self, scope: dict) -> JSONResponse | None:
        """Return the response to a request that is not accepted."""
        # As text of the bytes as they came: Starlette repairs what it cannot parse.
        values = {name: [] for name in (b"host", b"origin", b"sec-fetch-site")}
        for name, value in scope["headers"]:
            if name.lower() in values:
                values[name.lower()].append(value.decode("latin-1").lower())
        hosts, origins, sites = values.values()
        host = parse_host(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            return error_response(400, "Expected the name or address of this machine as host.")
        if self.hosts and host not in self.hosts:
            return error_response(421, "This page is available on this machine only.")
        if scope["method"] in ("GET", "HEAD"):
            return None
        own_origins = (f"http://{hosts[0]}", f"https://{hosts[0]}")
        if not set(origins) <= set(own_origins) or not set(sites) <= set(_OWN_SITE):
            return error_response(403, "This page accepts requests of its own only.")
        return None


def error_response(status: int, text: str) -> JSONResponse:
    """Return the response to a request that failed, the same for the page and for programs.

    Args:
        status: of HTTP.
        text: one or more sentences.
    """
    return JSONResponse({"error": text}, status)


def parse_host(value: str) -> str | None:
    """Return the host name in a Host header in lower case, or None if it is not one.

    Args:
        value: such as `localhost:7860`, `127.0.0.1` or `[::1]:7860`, in lower case.
    """
    match = _HOST.fullmatch(value)
    if not match or int(match[3] or 1) not in range(1, 65536):
        return None
    if match[1] is None:
        return match[2]
    try:
        return str(ipaddress.IPv6Address(match[1]))
    except ValueError:
        return None
