"""The text commands: a few expressions, evaluated here and never by Python, so that they need no confinement.

A line is a call, a variable, or `name = call`; `let`, `const` and `var`, a `;` at the end, `//` comments and `FINAL!(`
are taken as models write them. A call may go over several lines.
"""

from __future__ import annotations

import ast
import re

from codetether_rlm.inside.functions import Final, Part, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

KNOWN = "head tail slice grep count lines chunks llm_query llm_query_batched FINAL"
_DECLARED = re.compile(r"^(\s*)(?:let|const|var)\s+(?=\w+\s*=[^=])")
_FINAL = re.compile(r"\s*FINAL!?\((.*)", re.DOTALL)
_SIMPLE: dict[str, Callable[..., Any]] = {"print": print, "len": len, "str": str}


class NotUnderstood(Exception):
    """The line is no command."""


class Commands:
    """An interpreter over the functions and the variables of the cells."""

    def __init__(self, functions: dict[str, Callable[..., Any]], variables: dict[str, Any]) -> None:
        self._functions = {**functions, **_SIMPLE}
        self._variables = variables

    def run(self, text: str) -> None:
        """Run every command; results are printed. Raises Final, and whatever a command raises."""
        for statement in _statements(text):
            if isinstance(statement, ast.Assign):
                self._variables[_name(statement)] = self._value(statement.value)
            elif isinstance(statement, ast.Expr):
                value = self._value(statement.value)
                if value is not None:
                    print(shown(value))
            else:
                raise NotUnderstood(
                    f"only calls and `name = call` are commands: {ast.unparse(statement)[:80]}"
                )

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                if node.id not in self._variables:
                    raise NotUnderstood(f"there is no variable {node.id!r}; commands are {KNOWN}")
                return self._variables[node.id]
            case ast.List() | ast.Tuple():
                return [self._value(each) for each in node.elts]
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return -number
            case ast.BinOp(op=ast.Add()):
                left, right = self._value(node.left), self._value(node.right)
                if isinstance(left, str) or isinstance(right, str):
                    return _text(left) + _text(right)
                return left + right
            case ast.JoinedStr():
                return "".join(_text(self._value(each)) for each in node.values)
            case ast.FormattedValue(format_spec=None):
                return self._value(node.value)
            case ast.Subscript(slice=ast.Slice(step=None) as part):
                ends = [
                    None if each is None else self._value(each) for each in (part.lower, part.upper)
                ]
                return self._value(node.value)[slice(*ends)]
            case ast.Subscript():
                return self._value(node.value)[self._value(node.slice)]
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node)
        raise NotUnderstood(f"`{ast.unparse(node)[:80]}` is no command; commands are {KNOWN}")

    def _call(self, name: str, node: ast.Call) -> Any:
        if name not in self._functions:
            raise NotUnderstood(f"there is no command {name!r}; commands are {KNOWN}")
        if any(isinstance(each, ast.Starred) for each in node.args) or any(
            not each.arg for each in node.keywords
        ):
            raise NotUnderstood("a command takes no * arguments")
        given = [self._value(each) for each in node.args]
        named = {str(each.arg): self._value(each.value) for each in node.keywords}
        if name == "print":
            print(*map(shown, given))
            return None
        return self._functions[name](*given, **named)


def _text(value: object) -> str:
    return (
        value if isinstance(value, str) else value.text if isinstance(value, Part) else shown(value)
    )


def _name(statement: ast.Assign) -> str:
    target = statement.targets[0]
    if len(statement.targets) != 1 or not isinstance(target, ast.Name):
        raise NotUnderstood("a command gives its result to one name")
    return target.id


def _statements(text: str) -> Iterator[ast.stmt]:
    """The commands in `text`, one after another, so that those before a faulty one are run."""
    pending = ""
    lines = text.strip().splitlines()
    for number, written in enumerate(lines):
        # Within a call it may be the text of an answer, which stays as it is.
        line = written if pending else _as_python(written)
        if not pending and (not line.strip() or line.strip().startswith(("#", "```"))):
            continue
        pending += line + "\n"
        try:
            parsed = ast.parse(pending.strip()).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            rest = "\n".join([pending.rstrip("\n"), *lines[number + 1 :]])
            if (answer := _loose_final(rest, whole=number == len(lines) - 1)) is not None:
                raise Final(answer) from None
            if number == len(lines) - 1:
                raise NotUnderstood(
                    f"this is no command: {pending.strip()[:80]}; commands are {KNOWN}"
                ) from None
            continue
        yield from parsed
        pending = ""


def _as_python(line: str) -> str:
    line = _DECLARED.sub(r"\1", line)
    stripped = line.strip()
    if stripped.startswith("//"):
        return ""
    if stripped.startswith("FINAL!("):
        line = line.replace("FINAL!(", "FINAL(", 1)
    if stripped.startswith("println!("):
        line = line.replace("println!(", "print(", 1)
    if stripped.startswith("console.log("):
        line = line.replace("console.log(", "print(", 1)
    return line


def _loose_final(text: str, *, whole: bool) -> str | None:
    """The answer in a FINAL that is no proper call, as models write it: up to its last bracket, without outer quotes."""
    found = _FINAL.match(text)
    if found is None or not whole:
        return None
    answer = found[1].strip()
    if ")" in answer:
        answer = answer[: answer.rindex(")")].strip()
    for quote in ('"""', "'''", '"', "'", "`"):
        if len(answer) >= 2 * len(quote) and answer.startswith(quote) and answer.endswith(quote):
            return answer[len(quote) : -len(quote)]
    return answer
