"""requests over a Unix socket: nobody but us can listen in a directory of mode 0700, as anybody can on a port."""

from __future__ import annotations

import os
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NewConnectionError

LONGEST = 100  # bytes that surely fit into the kernel's structure for an address


class _Connection(HTTPConnection):
    path = ""

    def _new_conn(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = -1
        try:
            if isinstance(self.timeout, int | float):
                made.settimeout(self.timeout)
            path = self.path
            if len(os.fsencode(path)) > LONGEST:
                folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
            made.connect(path)
        except OSError as error:
            made.close()
            raise NewConnectionError(self, f"no connection: {error.strerror}") from error
        finally:
            if folder >= 0:
                os.close(folder)
        return made


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", maxsize=4)
        self._path = path

    def _new_conn(self) -> Any:
        made = _Connection("localhost")
        made.path = self._path
        return made


class SocketAdapter(HTTPAdapter):
    """Sends every request of a session to the socket at `path`."""

    def __init__(self, path: str) -> None:
        self._pool = _Pool(path)
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of the socket, whatever the address says."""
        return self._pool

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()
        super().close()
