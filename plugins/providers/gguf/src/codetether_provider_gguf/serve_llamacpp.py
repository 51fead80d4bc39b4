"""The child that runs llama.cpp: `python -P serve_llamacpp.py FD`. Nothing of this package is imported here.

The first line on the socket is what to load. llama.cpp's own HTTP server then listens on a Unix socket in a folder only
we may enter, so there is no TCP port: it would have no key and be open to every page of a browser.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import sys
import threading
from typing import Any


def main(number: int) -> None:
    """Load the model, say so, and end when the socket does."""
    ours = socket.socket(fileno=number)
    lines = ours.makefile("rb")
    wanted = json.loads(lines.readline())
    threading.Thread(target=_until_end, args=(lines, wanted["socket"]), daemon=True).start()
    try:
        server = _serve(wanted)
        _say(ours, {"ready": server.listening_address})
    except BaseException as exc:
        _say(ours, {"failed": f"{exc}" or type(exc).__name__})
    threading.Event().wait()


def _until_end(lines: Any, path: str) -> None:
    while lines.readline():
        pass
    with contextlib.suppress(OSError):  # whoever started us may be gone, and tidies up no more
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    os._exit(0)  # the server's threads would be waited for otherwise


def _say(ours: socket.socket, document: Any) -> None:
    ours.sendall(json.dumps(document).encode() + b"\n")


def _serve(wanted: dict[str, Any]) -> Any:
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = wanted["path"]
    params.model_alias = {wanted["alias"]}
    params.hostnames = [wanted["socket"]]
    params.n_ctx = wanted["context"]
    params.n_parallel = 1
    params.n_gpu_layers = wanted["gpu_layers"]
    params.use_jinja = True
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.cpuparams.n_threads = wanted["threads"]
    params.cpuparams_batch.n_threads = wanted["threads"]
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main(int(sys.argv[1]))
