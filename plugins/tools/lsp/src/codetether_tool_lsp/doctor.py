"""What `plugins doctor` says of language servers."""

from __future__ import annotations

import os
import shutil
import sys

from codetether.api import Finding, clean_env

from codetether_tool_lsp.settings import LspSettings
from codetether_tool_lsp.table import servers


def findings(settings: LspSettings) -> list[Finding]:
    """One line: the servers that are installed; a warning for each of the settings that is not."""
    path = os.pathsep.join([clean_env()["PATH"], os.path.join(sys.prefix, "bin")])
    found, lines = [], []
    for known in servers(settings.servers):
        if shutil.which(known.command[0], path=path):
            found.append(known.name)
        elif known.name in settings.servers:
            hint = known.install or f"install {known.command[0]}, or name its whole path"
            lines.append(
                Finding("warning", f"language server {known.name}", "is not installed", hint)
            )
    if found:
        return [Finding("ok", "language servers", ", ".join(found)), *lines]
    hint = "pip install basedpyright, for example (docs/language-servers.md)"
    return [
        Finding("warning", "language servers", "none is installed outside of projects", hint),
        *lines,
    ]
