"""`codetether auth`: the keys of providers. They are kept in Vault and shown nowhere."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

import msgspec
from codetether.api import CodetetherError, Kernel, Mode, Output, Secrets, UsageError, one_line

UNSET = "no place for keys is set up"
NEXT = "run: codetether vault up"


class Auth(Mode):
    """The mode. Values are never printed; what is stored is tried out unless told otherwise."""

    api = 1

    def arguments(self, parser: ArgumentParser) -> None:
        """One action; none is `list`."""
        parser.set_defaults(action="list", json=False)
        actions = parser.add_subparsers(metavar="ACTION")
        login = actions.add_parser("login", help="store a key; it is asked for, and not shown")
        login.set_defaults(action="login")
        login.add_argument("provider", metavar="PROVIDER")
        login.add_argument(
            "--stdin", action="store_true", help="read the key from standard input, for scripts"
        )
        login.add_argument("--base-url", metavar="URL", help="another address than the vendor's")
        login.add_argument("--organization", metavar="ID")
        login.add_argument("--region", metavar="NAME")
        login.add_argument(
            "--header",
            metavar="NAME: VALUE",
            action="append",
            type=_header,
            default=[],
            help="send this header too; repeatable; not for secrets",
        )
        login.add_argument(
            "--field",
            metavar="NAME",
            action="append",
            default=[],
            help="ask for another secret field too; repeatable",
        )
        login.add_argument("--no-test", action="store_true", help="store it without trying it out")
        login.add_argument(
            "--force", action="store_true", help="also for a provider that is not installed"
        )
        action = actions.add_parser("list", help="list the providers that have a key")
        action.set_defaults(action="list")
        action.add_argument("--json", action="store_true", help="print JSON")
        action = actions.add_parser("logout", help="delete a provider's key")
        action.set_defaults(action="logout")
        action.add_argument("provider", metavar="PROVIDER")
        action = actions.add_parser("test", help="try a provider out with a few tokens")
        action.set_defaults(action="test")
        action.add_argument("provider", metavar="PROVIDER")
        action.add_argument("--model", metavar="ID", default="", help="ask this model")

    async def run(self, args: Namespace) -> int:
        """Do the action. Raises CodetetherError with what to do instead."""
        actions = {
            "login": self._login,
            "list": self._list,
            "logout": self._logout,
            "test": self._test,
        }
        return await actions[args.action](args)

    # --- login ---
    async def _login(self, args: Namespace) -> int:
        from codetether_mode_auth.storing import store

        if not args.force:
            _known(self.kernel, args.provider)
        secrets = await self._secrets(offer=not args.stdin)
        fields = await self._fields(args)
        return await store(self.kernel, secrets, args.provider, fields, test=not args.no_test)

    async def _fields(self, args: Namespace) -> dict[str, Any]:
        """What is to be stored: the secret fields, then the plain ones that were given."""
        from codetether_mode_auth.asking import ask_hidden, read_piped

        sign_in = None if args.stdin or args.field else self._sign_in(args.provider)
        if sign_in is not None:
            fields: dict[str, Any] = dict(await sign_in(_show))
        else:
            names = ["api_key", *args.field]
            fields = dict(await (read_piped(names) if args.stdin else ask_hidden(names)))
        plain = {
            "base_url": args.base_url,
            "organization": args.organization,
            "region": args.region,
            "headers": dict(args.header) or None,
        }
        return fields | {name: value for name, value in plain.items() if value}

    def _sign_in(self, name: str) -> Any:
        """The provider's own way to sign a person in, when it has one."""
        installed = name in self.kernel.host.names("providers")
        return getattr(self.kernel.provider(name), "sign_in", None) if installed else None

    # --- the others ---
    async def _list(self, args: Namespace) -> int:
        secrets = await self._secrets()
        installed = self.kernel.host.names("providers")
        names = list(await secrets.providers())
        output = Output(sys.stdout)
        if args.json:
            rows = [{"provider": name, "installed": name in installed} for name in names]
            await output.write(msgspec.json.encode(rows) + b"\n")
            return 0
        width = max(map(len, names), default=0)
        for name in names:
            used = f"providers:{name}" if name in installed else "no plugin uses it"
            await output.write(f"{one_line(name):{width}}  {used}\n")
        if not names:
            _tell("no provider has a key; store one: codetether auth login PROVIDER")
        return 0

    async def _logout(self, args: Namespace) -> int:
        secrets = await self._secrets()
        await secrets.remove(args.provider)
        _tell(f"the key of {args.provider} is deleted")
        return 0

    async def _test(self, args: Namespace) -> int:
        from codetether_mode_auth.trial import try_out

        _known(self.kernel, args.provider)
        verdict = await try_out(self.kernel, args.provider, args.model)
        if verdict.outcome != "works":
            raise CodetetherError(one_line(self.kernel.redact.text(verdict.text)), verdict.hint)
        await Output(sys.stdout).write(f"{one_line(verdict.text)}\n")
        if verdict.hint:
            _tell(verdict.hint)
        return 0

    # --- where ---
    async def _secrets(self, *, offer: bool = False) -> Secrets:
        """Where keys are kept. `offer`: when there is no such place, a person is asked whether to make one."""
        secrets = self.kernel.secrets()
        if secrets is None:
            raise CodetetherError("no plugin keeps keys", "install codetether-secrets-vault")
        if await secrets.configured():
            return secrets
        if not offer or "vault" not in self.kernel.host.names("modes"):
            raise CodetetherError(UNSET, NEXT)
        from codetether_mode_auth.asking import agreed

        if not await agreed(f"{UNSET.capitalize()}. Start a private Vault on this machine?"):
            raise CodetetherError(UNSET, NEXT)
        await self.kernel.mode("vault").run(Namespace(action="up"))
        return secrets


def _known(kernel: Kernel, name: str) -> None:
    """Raises UsageError for a provider that is not installed: most often it is misspelt."""
    names = kernel.host.names("providers")
    if name in names:
        return
    from difflib import get_close_matches

    near = get_close_matches(name, names, 2)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"no provider {name!r} is installed",
        f"{meant}installed: {', '.join(names) or 'none'}",
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise ArgumentTypeError("write it as 'NAME: VALUE'")
    return name.strip(), value.strip()


async def _show(text: str) -> None:
    """Show a person what to do next: an address to open, a code to type."""
    for line in text.splitlines():
        print(one_line(line), file=sys.stderr, flush=True)


def _tell(text: str) -> None:
    print(f"auth: {one_line(text)}", file=sys.stderr, flush=True)
