"""A model's answer to the end: exchange after exchange until one succeeds or patience runs out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, Finish, ProviderFault, Request, Retrying, StreamEvent

from codetether_wire.exchange import Deadlines, check_status, exchange, opened
from codetether_wire.faults import WireFault, excerpt
from codetether_wire.gate import Ticket
from codetether_wire.outlet import Outlet
from codetether_wire.pool import pool_of
from codetether_wire.settings import patience

if TYPE_CHECKING:
    from codetether_wire.endpoint import Endpoint
    from codetether_wire.provider import WireProvider

CHANNEL = 64
_SHARED = frozenset({"rate_limit", "overloaded", "network", "timeout"})


@asynccontextmanager
async def stream_of(
    produce: Callable[[trio.MemorySendChannel[StreamEvent]], Awaitable[None]],
) -> AsyncIterator[trio.MemoryReceiveChannel[StreamEvent]]:
    """Run `produce` beside the body and give its events. Leaving the body stops it at once; what the body raises comes
    out as it is, not in a group.
    """
    send, receive = trio.open_memory_channel[StreamEvent](CHANNEL)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_producing, produce, send)
        try:
            yield receive
        except Exception as exc:
            raised = exc
        finally:
            receive.close()
            if nursery.child_tasks:
                nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _producing(
    produce: Callable[[trio.MemorySendChannel[StreamEvent]], Awaitable[None]],
    send: trio.MemorySendChannel[StreamEvent],
) -> None:
    with send:
        try:
            await produce(send)
        except* trio.BrokenResourceError:  # the listener closed its end
            pass


class Answer:
    """One call of `WireProvider.stream`."""

    def __init__(
        self, provider: WireProvider, request: Request, send: trio.MemorySendChannel[StreamEvent]
    ) -> None:
        self._provider = provider
        self._request = request
        self._send = send
        self._outlet = Outlet(send)
        self._settings = provider.settings
        self._patience = patience(self._settings)
        self._began = trio.current_time()
        self._waited = 0.0
        self._tries = 0
        self._restarts = 0
        self._fresh = False
        self._adapted = False

    async def run(self) -> None:
        """Stream the events; the last one is Finish, whatever happens."""
        async with self._outlet.running():
            finish = await self._finish()
        await self._send.send(finish)

    async def _finish(self) -> Finish:
        try:
            return await self._until_done()
        except WireFault as exc:
            fault = exc.fault
        except CodetetherError as exc:
            fault = ProviderFault(kind="auth", message=exc.message, hint=exc.hint)
        except trio.BrokenResourceError:
            raise
        except Exception as exc:  # a bug here must not take the session down
            fault = ProviderFault(
                kind="other", message=f"internal error: {type(exc).__name__}: {exc}"
            )
        return Finish(reason="error", error=self._told(fault))

    async def _until_done(self) -> Finish:
        while True:
            ticket = await self._enter()
            self._tries += 1
            try:
                finish = await self._once(ticket)
                return self._priced(finish)
            except WireFault as exc:
                if exc.fault.kind in _SHARED and exc.retry:
                    ticket.failed(exc.fault.retry_after, excerpt(exc.fault.message, 200))
                await self._again_or_raise(exc)
            finally:
                ticket.dropped()

    @property
    def _end(self) -> float:
        """When the call has had its time. Waiting for a vendor's limits is not the call's time."""
        allowed: float = self._settings.total_timeout
        return self._began + allowed + self._waited

    # --- one exchange ---
    async def _once(self, ticket: Ticket) -> Finish:
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
            return await exchange(
                response, dialect.decoder(), dialect.content_type, deadlines, self._outlet
            )

    async def _endpoint(self) -> Endpoint:
        """Where to send it. Some vendors are asked for that first: what their network does is waited out as usual."""
        try:
            return await self._provider.endpoint(self._request.model, fresh=self._fresh)
        except CodetetherError as exc:
            if isinstance(exc.__cause__, WireFault) and exc.__cause__.retry:
                raise exc.__cause__ from exc
            raise

    # --- between exchanges ---
    async def _enter(self) -> Ticket:
        """Wait at the gate, telling the listener. Raises WireFault when patience would run out."""
        gate = self._provider.gate
        if (ticket := gate.enter_nowait()) is not None:
            return ticket
        if not self._tries and gate.delay() > 0:
            await self._announce(gate.delay(), f"waiting with other calls: {gate.why}")
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

    async def _again_or_raise(self, exc: WireFault) -> None:
        """Prepare the next try and announce it, or raise what is final."""
        fault = exc.fault
        if fault.kind == "auth" and not self._fresh and await self._provider.renewed():
            self._fresh = True
            await self._announce(0.0, "the key was refused; reading it again")
            return
        if (
            fault.kind == "invalid"
            and not self._adapted
            and self._provider.adapt(self._request.model, fault.message)
        ):
            self._adapted = True
            await self._announce(0.0, "the request was refused; sending it in another form")
            return
        if not exc.retry:
            raise exc
        if self._outlet.spoke or fault.kind == "incomplete":  # the vendor counts what was cut, too
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
        await self._announce(wait, fault.message)
        if not shared:
            self._waited += wait
            await trio.sleep(wait)

    def _given_up(self, fault: ProviderFault, wait: float) -> WireFault:
        hint = fault.hint or f"try again in {wait:.0f} s" + (
            "" if self._settings.unattended else "; CODETETHER_UNATTENDED=1 waits an hour and more"
        )
        later = max(wait, fault.retry_after or 0)
        return WireFault(msgspec.structs.replace(fault, hint=hint, retry_after=later))

    async def _announce(self, wait: float, why: str) -> None:
        self._outlet.spoke = False
        why = excerpt(self._provider.redacted(why), 200)
        await self._outlet.drained()
        await self._send.send(Retrying(attempt=self._tries, wait=round(wait, 3), why=why))

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
