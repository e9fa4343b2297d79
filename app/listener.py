"""The socket that the page listens on."""

import errno
import ipaddress
import socket


def open_listener(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Args:
        host: a name or address of this machine.
        port: 0 for any free port.

    Raises:
        OSError: it is not possible; the message names the flag and the remedy.
    """
    wrong_host = f"--host: expected an address of this machine, received {host!r}; try 127.0.0.1"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise OSError(wrong_host) from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(100)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(wrong_host) from error
        raise OSError(
            f"--port: cannot listen on port {port} of {host} ({error.strerror}); choose another "
            "port, or 0 for any free one"
        ) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Tell whether only this machine can reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def get_url(listener: socket.socket) -> str:
    """Return the URL of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
