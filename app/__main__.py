"""Show the classifier as a web page on this machine: python -m app"""

import ipaddress
import socket
import sys
import warnings
from pathlib import Path

import config
from config import AppConfig
from data import DataError
from models import ModelError

PROGRAM = "python -m app"


def main(argv: list[str] | None = None) -> int:
    """Run the page until it is stopped; returns the exit code."""
    parser = config.ArgumentParser(prog=PROGRAM, description=__doc__)
    config.add_arguments(parser, AppConfig)
    args = parser.parse_args(argv)
    try:
        settings = config.from_args(AppConfig, args)
    except ValueError as error:
        parser.error(str(error))
    warnings.showwarning = config.show_warning
    try:
        return serve(settings)
    except (DataError, ModelError, OSError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: stopped", file=sys.stderr)
        return 130


def serve(settings: AppConfig) -> int:
    """Take the port, load the model, answer."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the page needs the package {error.name}: pip install -r requirements-app.txt"
        ) from error
    listener = listen(settings.host, settings.port)
    with listener:
        from models.backend import start_tensorflow

        start_tensorflow()

        from app.answer import Answerer, paint_examples
        from app.server import build_app
        from models.bundle import choose_model

        model_path, origin = choose_model(
            settings.model_path,
            runs_dir=config.RUNS_DIR,
            shipped=config.PRETRAINED_MODEL,
            root=Path(config.__file__).parent,
        )
        answer = Answerer(
            model_path, max_pixels=settings.max_pixels, shown_size=settings.shown_size
        )
        local = is_loopback(listener)
        app = build_app(
            answer,
            examples=paint_examples(),
            note=answer.note,
            hosts=("127.0.0.1", "localhost", "::1", settings.host) if local else (),
            max_upload_bytes=settings.max_upload_bytes,
            max_waiting=settings.max_waiting,
            upload_seconds=settings.upload_seconds,
        )
        print(f"model: {origin}")
        if answer.note:
            print(f"note: {answer.note}", file=sys.stderr)
        if not local:
            print(
                f"warning: --host {settings.host} lets others in the network use this page; it has "
                "no password, and pictures travel unencrypted",
                file=sys.stderr,
            )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"open http://{shown}:{port} in a browser; Ctrl-C stops the page", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=100,
                timeout_graceful_shutdown=2,
            )
        )
        server.run(sockets=[listener])
    return 0


def listen(host: str, port: int) -> socket.socket:
    """Take a port, before anything slow.

    Raises:
        OSError: it cannot be had; the message says what to do.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise OSError(
            f"--host should be an address of this machine, received {host!r}; leave it out for "
            "127.0.0.1"
        ) from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(100)
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen at {host}, port {port} ({error.strerror}); another program may have "
            "it: choose another --port, or 0 for any free one"
        ) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


if __name__ == "__main__":
    config.run(main)
