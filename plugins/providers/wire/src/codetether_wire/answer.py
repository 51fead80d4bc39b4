"""A model's answer to the end: exchange after exchange until one succeeds or patience runs out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, Finish, ProviderFault, Request, Retrying, StreamEvent

from codetether_wire.exchange import Deadlines, Exchange, check_status, opened
from codetether_wire.faults import WireFault, excerpt
from codetether_wire.gate import Ticket
from codetether_wire.pool import pool_of
from codetether_wire.settings import patience

if TYPE_CHECKING:
    from codetether_wire.endpoint import Endpoint
    from codetether_wire.provider import WireProvider

_SHARED = frozenset({"rate_limit", "overloaded", "network", "timeout"})


class Answer:
    """One call of `WireProvider.stream`."""

    def __init__(self, provider: WireProvider, request: Request) -> None:
        self._provider = provider
        self._request = request
        self._settings = provider.settings
        self._patience = patience(self._settings)
        self._began = trio.current_time()
        self._waited = 0.0
        self._tries = 0
        self._restarts = 0
        self._spoke = False
        self._fresh = False
        self._adapted = False

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """What the model says; the last event is Finish, whatever happens. Closing it closes the connection at once."""
        try:
            async with aclosing(self._until_done()) as events:
                async for event in events:
                    yield event
            return
        except WireFault as exc:
            fault = exc.fault
        except CodetetherError as exc:
            fault = ProviderFault(kind="auth", message=exc.message, hint=exc.hint)
        except Exception as exc:  # a bug here must not take the session down
            fault = ProviderFault(
                kind="other", message=f"internal error: {type(exc).__name__}: {exc}"
            )
        yield Finish(reason="error", error=self._told(fault))

    async def _until_done(self) -> AsyncGenerator[StreamEvent]:
        while True:
            if (ticket := self._provider.gate.enter_nowait()) is None:
                if (waiting := self._others_wait()) is not None:
                    yield waiting
                ticket = await self._turn()
            self._tries += 1
            try:
                async with self._exchange(ticket) as exchange:
                    while said := await exchange.read():
                        self._spoke = True
                        for event in said:
                            yield event
                yield self._priced(exchange.finish())
                return
            except WireFault as exc:
                if exc.fault.kind in _SHARED and exc.retry:
                    ticket.failed(exc.fault.retry_after, excerpt(exc.fault.message, 200))
                why, wait, own = await self._again_or_raise(exc)
            finally:
                ticket.dropped()
            yield self._retrying(wait, why)
            if own:
                self._waited += wait
                await trio.sleep(wait)

    @property
    def _end(self) -> float:
        """When the call has had its time. Waiting for a vendor's limits is not the call's time."""
        allowed: float = self._settings.total_timeout
        return self._began + allowed + self._waited

    # --- one exchange ---
    @asynccontextmanager
    async def _exchange(self, ticket: Ticket) -> AsyncIterator[Exchange]:
        provider, request = self._provider, self._request
        endpoint = await self._endpoint()
        dialect = provider.dialect_for(request.model)
        traits = provider.traits(request.model)
        outgoing = dialect.outgoing(request, traits, provider.name)
        if extra := provider.headers(request):
            outgoing = msgspec.structs.replace(outgoing, headers={**outgoing.headers, **extra})
        outgoing = await provider.signed(endpoint, outgoing)
        deadlines = Deadlines(self._settings.idle_timeout, self._end)
        async with opened(
            pool_of(provider.kernel),
            endpoint,
            outgoing,
            deadlines,
            connect=self._settings.connect_timeout,
            trust_env=self._settings.trust_env,
        ) as response:
            await check_status(response, deadlines, dialect)
            ticket.passed()
            yield Exchange(response, dialect, deadlines)

    async def _endpoint(self) -> Endpoint:
        """Where to send it. Some vendors are asked for that first: what their network does is waited out as usual."""
        try:
            return await self._provider.endpoint(self._request.model, fresh=self._fresh)
        except CodetetherError as exc:
            if isinstance(exc.__cause__, WireFault) and exc.__cause__.retry:
                raise exc.__cause__ from exc
            raise

    # --- between exchanges ---
    def _others_wait(self) -> Retrying | None:
        """Told when the first try must wait for what other calls met with."""
        gate = self._provider.gate
        if self._tries or not (delay := gate.delay()):
            return None
        return self._retrying(delay, f"waiting with other calls: {gate.why}")

    async def _turn(self) -> Ticket:
        """Wait at the gate. Raises WireFault when patience would run out."""
        gate = self._provider.gate
        left = max(self._patience.wait - self._waited, 0.0)
        began = trio.current_time()
        with trio.move_on_after(left * 1.1 + 1):  # room for the jitter
            ticket = await gate.enter()
            self._waited += trio.current_time() - began
            return ticket
        wait = gate.delay()
        raise WireFault.of(
            "overloaded", f"gave up waiting for the provider: {gate.why}", retry_after=wait or None
        )

    async def _again_or_raise(self, exc: WireFault) -> tuple[str, float, bool]:
        """Prepare the next try, or raise what is final. Why there is one, the seconds it waits, and whether the wait is
        this call's own and not the gate's.
        """
        fault = exc.fault
        if fault.kind == "auth" and not self._fresh and await self._provider.renewed():
            self._fresh = True
            return "the key was refused; reading it again", 0.0, False
        if (
            fault.kind == "invalid"
            and not self._adapted
            and self._provider.adapt(self._request.model, fault.message)
        ):
            self._adapted = True
            return "the request was refused; sending it in another form", 0.0, False
        if not exc.retry:
            raise exc
        if self._spoke or fault.kind == "incomplete":  # the vendor counts what was cut, too
            self._restarts += 1
            if self._restarts > self._patience.restarts:
                raise exc
        gate = self._provider.gate
        shared = fault.kind in _SHARED
        wait = gate.delay() if shared else gate.draw(self._restarts)
        asked = (
            wait if fault.retry_after is None else min(wait, fault.retry_after)
        )  # jitter is not held against it
        allowed = min(self._patience.wait - self._waited, self._patience.longest)
        is_late = self._tries >= self._patience.tries or trio.current_time() >= self._end
        if asked > allowed or is_late:
            raise self._given_up(fault, wait)
        return fault.message, wait, not shared

    def _given_up(self, fault: ProviderFault, wait: float) -> WireFault:
        hint = fault.hint or f"try again in {wait:.0f} s" + (
            "" if self._settings.unattended else "; CODETETHER_UNATTENDED=1 waits an hour and more"
        )
        later = max(wait, fault.retry_after or 0)
        return WireFault(msgspec.structs.replace(fault, hint=hint, retry_after=later))

    def _retrying(self, wait: float, why: str) -> Retrying:
        self._spoke = False
        why = excerpt(self._provider.redacted(why), 200)
        return Retrying(attempt=self._tries, wait=round(wait, 3), why=why)

    # --- the end ---
    def _told(self, fault: ProviderFault) -> ProviderFault:
        """The fault as a person may see it: redacted, one line, at most 500 characters, saying whose it is."""
        provider = self._provider
        message = excerpt(provider.redacted(f"{provider.name}: {fault.message}"))
        hint = excerpt(
            provider.redacted(fault.hint or (provider.key_hint if fault.kind == "auth" else ""))
        )
        return msgspec.structs.replace(fault, message=message, hint=hint)

    def _priced(self, finish: Finish) -> Finish:
        if finish.usage is None or finish.usage.cost is not None:
            return finish
        cost = self._provider.known(self._request.model).price(finish.usage)
        return (
            finish
            if cost is None
            else msgspec.structs.replace(
                finish, usage=msgspec.structs.replace(finish.usage, cost=cost)
            )
        )
