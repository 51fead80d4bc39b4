"""Whether a change touches what judges it: tests, and the files gates are configured by."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TESTS = re.compile(
    r"(^|/)(tests?|__tests__|spec|testdata|fixtures)/|(^|/)(test_[^/]*|[^/]*_test|[^/]*[._-](test|spec))\.\w+$|"
    r"(^|/)conftest\.py$|(^|/)src/test/|[^/]*Tests?\.(java|kt|cs)$"
)
_GATES = re.compile(
    r"(^|/)(pyproject\.toml|setup\.(py|cfg)|tox\.ini|pytest\.ini|mypy\.ini|\.?ruff\.toml|noxfile\.py|package\.json|"
    r"tsconfig[^/]*\.json|\.?eslint[^/]*|jest\.config\.\w+|vitest\.config\.\w+|Cargo\.toml|clippy\.toml|go\.mod|"
    r"GNUmakefile|[Mm]akefile|pom\.xml|(build|settings)\.gradle(\.kts)?|mvnw|gradlew|\.pre-commit-config\.yaml)$|"
    r"^\.(github|gitlab|circleci)|(^|/)\.ci/"
)


def touched(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that are tests or configure gates: a person should look at them."""
    return tuple(path for path in paths if guarded(path))


def guarded(path: str) -> bool:
    """Whether `path` is a test, or a file that says how work is judged."""
    return bool(_TESTS.search(path) or _GATES.search(path))
