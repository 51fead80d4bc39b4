"""The environment a child process gets."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Where programs, their settings and their tool chains are. Nothing here may hold a key, so no proxy (its address may
# hold a password), no agent socket, no index address.
KEPT = frozenset(
    (
        *("PATH", "HOME", "LANG", "LANGUAGE", "TMPDIR", "USER", "LOGNAME", "SHELL", "TZ"),
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *(
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "PYENV_ROOT",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "GOPATH",
            "GOROOT",
            "GOCACHE",
        ),
        *("JAVA_HOME", "NVM_DIR", "DOTNET_ROOT", "ANDROID_HOME", "NIX_PATH", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_CONFIG_GLOBAL"),
    )
)
# Nothing may wait for a person: no pager, no editor, no prompt.
FIXED: Mapping[str, str] = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
    "EDITOR": "false",
    "VISUAL": "false",
    "GIT_EDITOR": "false",
    "DEBIAN_FRONTEND": "noninteractive",
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_MERGE_AUTOEDIT": "no",
    "PIP_NO_INPUT": "1",
    "GH_PROMPT_DISABLED": "1",
    "SYSTEMD_PAGER": "cat",
}


def clean_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What programs need to run, nothing that could be a secret; no pager, no editor, no prompt. `extra` goes on top."""
    kept = {
        name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")
    }
    kept.setdefault("PATH", os.defpath)
    return {**kept, **FIXED, **(extra or {})}
