"""llama.cpp's own HTTP server over the tiny model: `python llama_server.py FOLDER [API_KEY]`.

Run in a child process, since a file llama.cpp dislikes aborts the whole process. Prints the address it listens on and
ends when its standard input does, so that it cannot outlive the test.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import xllamacpp
from tiny_model import write_tiny_model


def main(folder: str, key: str = "") -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(write_tiny_model(Path(folder) / "tiny.gguf"))
    params.model_alias = {"tiny"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key] if key else []
    params.n_ctx = 4096
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.use_jinja = True
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    # In one piece: the server's own threads log to the same pipe, and would write between address and line end.
    os.write(sys.stdout.fileno(), f"\npeer at {server.listening_address}\n".encode())
    sys.stdin.read()
    os._exit(0)  # the server's threads would be waited for otherwise


if __name__ == "__main__":
    main(*sys.argv[1:])
