"""The errors a user or a model is told about, each with what to do next."""

from __future__ import annotations

from typing import ClassVar


class CodetetherError(Exception):
    """Something a person can act on: said in two lines, without a traceback.

    `message` says what happened, `hint` what to do next. `exit_code` is what the command ends with (docs/cli.md):
    1 failed, 2 usage, 3 denied, 130 interrupted.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CodetetherError):
    """The command line or a setting is wrong: fix it and run again. Exit 2."""

    exit_code = 2


class DeniedError(CodetetherError):
    """A permission said no, or nobody was there to say yes. Exit 3."""

    exit_code = 3


class InterruptedByUser(CodetetherError):
    """The person pressed Ctrl-C, or the process was told to end. Exit 130."""

    exit_code = 130


class PluginError(CodetetherError):
    """A plugin that is needed is absent, switched off, in conflict or faulty; the hint names the line to write."""


class ConfigError(UsageError):
    """A settings file or a setting is wrong; the message names the file and the key."""


class ToolError(Exception):
    """Raised by a tool to answer the model with an error. Write it for the model: short, and what to do instead.

    `code` is one of INVALID_ARGUMENT, NOT_FOUND, AMBIGUOUS_MATCH, NO_OP, CONFLICT, DENIED, TIMEOUT, CANCELLED,
    EXECUTION_FAILED (the original's names, carried over and completed).
    """

    def __init__(self, text: str, code: str = "EXECUTION_FAILED", **meta: object) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.meta = meta


def told(error: BaseException) -> str:
    """`Type: message` of an error in one line; of a group, its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
