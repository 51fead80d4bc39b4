"""The user's directories of this program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from codetether import layers


class Dirs(msgspec.Struct, frozen=True):
    """The user's directories of this program, and `file`, the settings file. They need not exist."""

    config: Path
    data: Path
    cache: Path
    file: Path

    @classmethod
    def find(cls, env: Mapping[str, str] | None = None) -> Self:
        """Where XDG says; CODETETHER_CONFIG names the file, CODETETHER_DATA_DIR the data directory.

        Raises ConfigError when there is no home directory.
        """
        env = os.environ if env is None else env
        data = env.get("CODETETHER_DATA_DIR", "")
        return cls(
            config=Path(layers.folder(env, "XDG_CONFIG_HOME", ".config")),
            data=Path(
                os.path.abspath(data)
                if data
                else layers.folder(env, "XDG_DATA_HOME", ".local/share")
            ),
            cache=Path(layers.folder(env, "XDG_CACHE_HOME", ".cache")),
            file=Path(layers.user_file(env)),
        )
