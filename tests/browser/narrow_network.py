"""A network between browser and service that lets HTTP through and may block WebSockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

__all__ = ["NarrowNetwork", "narrow_network"]

HEAD_BYTES_MAX = 65_536
BYTES = 65_536
PATIENCE_S = 10.0


class NarrowNetwork:
    """``url`` leads to the service; handshakes of sockets are refused while ``blocks`` is true."""

    def __init__(self, service: str) -> None:
        where = urlsplit(service)
        self._service = (where.hostname or "", where.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.blocks = True
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        with browser, contextlib.suppress(OSError):
            browser.settimeout(None)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
                chunk = browser.recv(BYTES)
                if not chunk:
                    return
                head += chunk
            # A browser asks for a socket on a connection of its own, with its first request.
            if self.blocks and b"upgrade: websocket" in head.lower():
                browser.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(self._service, PATIENCE_S) as service:
                service.settimeout(None)
                service.sendall(head)
                back = threading.Thread(target=_pump, args=(service, browser), daemon=True)
                back.start()
                _pump(browser, service)
                back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(BYTES):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def narrow_network(service: str) -> Iterator[NarrowNetwork]:
    """One that ends with the block."""
    network = NarrowNetwork(service)
    try:
        yield network
    finally:
        network.close()
