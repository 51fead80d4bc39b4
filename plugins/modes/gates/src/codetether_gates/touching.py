"""Whether a change touches what judges it: tests, and the files gates are configured by."""

from __future__ import annotations

import re
from collections.abc import Iterable

# A module of tests; other tests do not mind it.
_MODULE = re.compile(
    r"(^|/)(test_[^/]*|[^/]*_test|[^/]*[._-](test|spec))\.\w+$|[^/]*Tests?\.(java|kt|cs)$"
)
_BESIDE = re.compile(
    r"(^|/)(tests?|__tests__|spec|testdata|fixtures)/|(^|/)(conftest|sitecustomize|usercustomize)\.py$|"
    r"(^|/)setupTests\.\w+$|(^|/)src/test/"
)
_GATES = re.compile(
    r"(^|/)(pyproject\.toml|setup\.(py|cfg)|tox\.ini|\.?pytest\.(ini|toml)|\.?mypy\.ini|\.?ruff\.toml|noxfile\.py|"
    r"\.flake8|\.coveragerc|pyrightconfig\.json|package\.json|\.npmrc|\.yarnrc(\.yml)?|tsconfig[^/]*\.json|"
    r"\.?eslint[^/]*|(jest|vitest)\.(config|setup)\.\w+|\.mocharc[^/]*|karma\.conf\.\w+|biome\.jsonc?|"
    r"Cargo\.toml|\.?clippy\.toml|\.cargo/config(\.toml)?|go\.(mod|work)|\.golangci\.\w+|GNUmakefile|[Mm]akefile|"
    r"[Jj]ustfile|pom\.xml|(build|settings)\.gradle(\.kts)?|mvnw|gradlew|\.pre-commit-config\.yaml)$|"
    r"^\.(github|gitlab|circleci)|(^|/)\.ci/"
)


def touched(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that are tests or configure gates: a person should look at them."""
    return tuple(path for path in paths if guarded(path))


def guarded(path: str) -> bool:
    """Whether `path` is a test, or a file that says how work is judged."""
    return bool(_MODULE.search(path) or _BESIDE.search(path) or _GATES.search(path))


def steers(path: str) -> bool:
    """Whether the guarded `path`, when it is new, can change what other tests do: all but modules of tests."""
    return not _MODULE.search(path) or bool(_GATES.search(path))
