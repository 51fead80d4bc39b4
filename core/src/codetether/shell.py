"""Reading a shell command just far enough to say what it runs, and refusing to guess.

`parts` understands a small, safe part of the shell language and answers None for all else; a rule that allows needs
its answer. `fragments` cuts at every operator, quoted or not, and so finds too much; rules that deny or ask use it.
"""

from __future__ import annotations

import os
import re
import shlex

# words of a piece that are tried as the program: a long command must not cost its square
LEADING = 32
OPERATORS = ";&|\n(){}<>`$"
SAFE_REDIRECTS = (
    "2>&1",
    "2>/dev/null",
    ">/dev/null",
    "1>/dev/null",
    "&>/dev/null",
    "</dev/null",
    "1>&2",
    ">&2",
)
UNSAFE = "`$(){}<>#\\\r\0"
GLOB_STARTS = "*?["

_RUNNERS = """
env xargs sudo doas su eval exec source . command builtin time timeout nice ionice nohup setsid stdbuf watch parallel
ssh scp sftp rsync awk gawk mawk nawk sed vi vim nvim view ex ed emacs nano less more man script strace ltrace gdb lldb
busybox chroot unshare nsenter systemd-run flock trap alias coproc if then do else elif for while until case select
function ! [[ m4 expect socat nc ncat entr
"""
_LAUNCHERS = """
git python python2 python3 pypy3 node deno bun ruby perl php lua Rscript sh bash zsh dash ksh fish pwsh java npm npx
pnpm yarn uv uvx pip pip3 pipx poetry pdm hatch pipenv conda mamba bundle cargo go dotnet mix docker podman kubectl helm
nix make just task gradle mvn bazel gh systemctl busctl tox nox
"""
# programs that run another program named by an argument, or a program text: a pattern never allows them
RUNNERS = frozenset(_RUNNERS.split())
# programs whose first argument decides what runs: a pattern must spell it out (`python -m pytest *`, `git status *`)
LAUNCHERS = frozenset(_LAUNCHERS.split())
# ... and second words after which the same holds for the third
RELAYS = frozenset(
    [
        "run",
        "exec",
        "x",
        "dlx",
        "tool",
        "develop",
        "shell",
        "remote",
        "bisect",
        "submodule",
        "worktree",
        "compose",
        "-m",
    ]
)
# arguments that run, load or write what they name; a long one also when it is shortened
OPTIONS: dict[str, tuple[str, ...]] = {
    "git": (
        "-c", "-C", "--config-env", "--exec-path", "--upload-pack", "--receive-pack", "--exec", "--ext-diff",
        "--textconv", "--open-files-in-pager", "--output", "--git-dir", "--work-tree", "--extcmd", "--tool",
        "--config", "--template", "--paginate",
    ),
    "find": ("-exec", "-execdir", "-ok", "-okdir", "-delete", "-fls", "-fprint", "-fprint0", "-fprintf"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre", "--hostname-bin", "--search-zip", "-z"),
    "tar": (
        "-I", "-F", "--to-command", "--checkpoint-action", "--use-compress-program", "--info-script",
        "--new-volume-script", "--rsh-command", "--rmt-command",
    ),
    "sort": ("-o", "--output", "--compress-program"),
    "zip": ("-T", "-TT", "--unzip-command"),
    "cargo": ("--config",),
    "go": ("-exec", "-toolexec", "-vettool", "-overlay", "-C"),
    "npm": ("--script-shell", "--prefix", "--node-options", "--userconfig", "--globalconfig"),
    "make": ("--eval", "-f", "--file", "--makefile", "-C", "--directory", "-I", "--include-dir"),
    "gcc": ("-wrapper", "-fplugin", "-B", "-specs"),
    "curl": ("-o", "-O", "-K", "--config", "--output", "--remote-name"),
    "pytest": ("-p", "-c", "--config-file", "--rootdir", "--confcutdir", "-o", "--override-ini"),
    "ruff": ("--config",),
    "mypy": ("--config-file", "--python-executable"),
    "date": ("-s", "--set"),
    "tree": ("-o",),
}  # fmt: skip
OPTIONS |= {
    "fdfind": OPTIONS["fd"],
    "g++": OPTIONS["gcc"],
    "cc": OPTIONS["gcc"],
    "clang": OPTIONS["gcc"],
}
# git's short options that run something, by subcommand; they may stand in a bundle (`-ix`)
GIT_LETTERS = {
    "rebase": "x",
    "grep": "O",
    "clone": "uc",
    "difftool": "x",
    "ls-remote": "u",
    "fetch": "u",
}


PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+-]+")  # characters that mean only themselves
LONG = 10_000


def parts(command: str) -> list[list[str]] | None:
    """The simple commands a command line consists of, each as its words; None when it is not plainly so.

    Understood: words, quotes without expansion, `;`, `&&`, `||`, `|`, newlines, and redirects to /dev/null.
    """
    found: list[list[str]] = [[]]
    reader = _Reader(command)
    while (word := reader.next()) is not None:
        if word == "":
            found.append([])
        else:
            found[-1].append(word[1:])
    found = [words for words in found if words]
    if reader.failed or any(words[0] == "" for words in found):
        return None
    return found or None


class _Reader:
    """Splits into words (each given with a leading space, so that an empty word is not a separator) and separators
    (""). `failed` once anything is not understood.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.failed = False

    def next(self) -> str | None:
        """The next word or separator; None at the end or on failure."""
        text = self.text
        while self._skipped():
            pass
        if self.at >= len(text):
            return None
        for operator in ("&&", "||", ";", "|", "\n"):
            if text.startswith(operator, self.at):
                self.at += len(operator)
                self.failed = text[self.at : self.at + 1] in ("&", "|")
                return None if self.failed else ""
        return self._word()

    def _skipped(self) -> bool:
        """Pass over blanks or a harmless redirect; whether there was any."""
        before = self.at
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1
        for redirect in SAFE_REDIRECTS:
            end = self.at + len(redirect)
            if self.text.startswith(redirect, self.at) and self.text[end : end + 1] in (
                "",
                *" \t;|\n",
            ):
                self.at = end
                break
        return self.at > before

    def _word(self) -> str | None:
        word = [" "]
        start = self.at
        while self.at < len(self.text):
            if plain := PLAIN.match(self.text, self.at):
                word.append(plain[0])
                self.at = plain.end()
                continue
            ch = self.text[self.at]
            if ch in " \t\n;|":
                break
            if ch in "'\"":
                inner = self._quoted(ch)
                if inner is None:
                    return None
                word.append(inner)
                continue
            if (
                ch in UNSAFE
                or ch == "&"
                or not ch.isprintable()
                or (ch in GLOB_STARTS and self.at == start)
            ):
                self.failed = True
                return None
            word.append(ch)
            self.at += 1
        return "".join(word)

    def _quoted(self, quote: str) -> str | None:
        end = self.text.find(quote, self.at + 1)
        inner = self.text[self.at + 1 : end]
        if end < 0 or (quote == '"' and any(ch in "`$\\!" for ch in inner)) or "\0" in inner:
            self.failed = True
            return None
        self.at = end + 1
        return inner


def fragments(command: str) -> list[str]:
    """Every piece of a command line that might be run, cut at all operators, without assignments and runners before
    it, and with quotes taken off: more than there is, so that a rule that denies is not talked past.
    """
    pieces = [command]
    for operator in OPERATORS:
        pieces = [sub for piece in pieces for sub in piece.split(operator)]
    found = [command.strip()]
    for piece in pieces:
        words = _loose_words(piece)
        for at in range(min(len(words), LEADING)):
            if at == 0 or _may_lead(words[at - 1], words[0]):
                name, *rest = words[at:]
                found += [
                    shlex.join(words[at:]),
                    " ".join(words[at:]),
                    " ".join([os.path.basename(name), *rest]),
                ]
        found.append(piece.strip())
    return list(dict.fromkeys(item for item in found if item))


def _may_lead(before: str, first: str) -> bool:
    """Whether the word after `before` may be the program: after an assignment, or anything behind a runner."""
    return (
        "=" in before or os.path.basename(first) in RUNNERS or os.path.basename(first) in LAUNCHERS
    )


def _loose_words(piece: str) -> list[str]:
    try:
        if len(piece) <= LONG:  # it takes every character by itself
            return shlex.split(piece)
    except ValueError:
        pass
    return piece.replace("'", "").replace('"', "").replace("\\", "").split()


def may_execute(words: list[str], spelled_out: int) -> bool:
    """Whether arguments of this simple command could make it run something else, when only the first `spelled_out`
    words are given by the rule and the rest is the model's.
    """
    name = os.path.basename(words[0])
    if spelled_out == 0 or "=" in words[0] or name in RUNNERS:
        return True
    if name in LAUNCHERS and len(words) > 1:
        needed = 3 if words[1] in RELAYS else 2
        if spelled_out < min(needed, len(words)) or (
            words[1].startswith("-") and words[1] != "-m" and len(words) > 2
        ):
            return True
    rest = words[spelled_out:]
    return any(
        _is_option(word, option) for word in rest for option in OPTIONS.get(name, ())
    ) or _special(name, words, rest)


def _is_option(word: str, option: str) -> bool:
    given = word.partition("=")[0]
    if option.startswith("--"):
        return len(given) > 2 and given.startswith("--") and option.startswith(given)
    if len(option) == 2:
        return word.startswith(option)
    return given == option


def _special(name: str, words: list[str], rest: list[str]) -> bool:
    if name == "make":
        return any("=" in word for word in rest)
    if name != "git":
        return False
    letters = GIT_LETTERS.get(words[1] if len(words) > 1 else "", "")
    return any("::" in word for word in rest) or any(
        word.startswith("-")
        and not word.startswith("--")
        and any(letter in word for letter in letters)
        for word in rest
    )
