"""One session on disk: written record by record, read back after whatever happened (docs/sessions.md).

Nothing here is async: an append takes microseconds. `sync` takes milliseconds; run it in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from codetether import records as r
from codetether.errors import CodetetherError
from codetether.journal import Journal, Lease, Owner
from codetether.loaded import Loaded, assemble, settings_of, title_from
from codetether.records import SETTINGS, SessionHeader
from codetether.scan import scan_bytes
from codetether.session_files import SUFFIX, Names, find_session, make_file, stamp
from codetether.side_files import put_aside
from codetether.words import Message, Usage

STATE_EVERY = 24 * 1024  # bytes between two `state` records; session_files.TAIL must hold one
Tell = Callable[[str], None]


class SessionReadOnly(CodetetherError):
    """The session cannot be written: by this version, or because it was opened for reading."""


class Transcript:
    """A session being written. Made by `create`, `open` or `fork`; close it, or use it as a context manager. `side`: the
    directory for its side files, which need not be there.
    """

    def __init__(
        self,
        path: Path,
        redact: Callable[[str], str] | None,
        on_trouble: Tell | None,
        clock: Callable[[], datetime],
        *,
        owner: Owner | None,
        names: Names,
    ) -> None:
        self.path = path
        self.id = path.name.removesuffix(SUFFIX)
        self.side = path.with_name(f"{self.id}.files")
        self._redact = redact
        self._on_trouble = on_trouble
        self._clock = clock
        self._owner = owner
        self._lease: Lease | None = None
        self._journal: Journal | None = None
        self._why_not = "It was opened for reading only."
        self._seq = -1
        self._last = ""
        self._ids: set[str] = set()
        self._settings: dict[str, str] = {}
        self._title = ""
        self._count = 0
        self._usage = Usage()
        self._since_state = 0
        self._lost = 0
        self._names = names
        self._unnamed = 0  # its number among the names, while the disk may not keep it

    @classmethod
    def create(
        cls,
        root: Path,
        header: SessionHeader,
        *,
        redact: Callable[[str], str] | None = None,
        on_trouble: Tell | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        owner: Owner | None = None,
        names: Names | None = None,
    ) -> Transcript:
        """Begin a session in the directory `root`, which is made when absent.

        `redact` is applied to all text before it reaches the disk. `on_trouble` is told, once, when the disk refuses
        records (they are kept and tried again), and when it takes them again. `clock` gives the time in UTC. `owner`:
        what its lease stands for, and `names` those in `root`, where one process writes many sessions.
        Raises CodetetherError when `root` cannot be written.
        """
        now = clock()
        try:
            name = make_file(root, header.id, now)
        except OSError as error:
            raise _cannot_write(root, error) from error
        names = names or Names(root)
        transcript = cls(
            root / f"{name}{SUFFIX}", redact, on_trouble, clock, owner=owner, names=names
        )
        transcript._unnamed = names.made()
        transcript._start_writing()
        header = msgspec.structs.replace(header, id=name, created=header.created or stamp(now))
        transcript._settings = settings_of(header)
        transcript._append(r.SessionRecord, session=header)
        return transcript

    @classmethod
    def open(
        cls,
        root: Path,
        session: str,
        *,
        write: bool = True,
        redact: Callable[[str], str] | None = None,
        on_trouble: Tell | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        owner: Owner | None = None,
        names: Names | None = None,
    ) -> tuple[Transcript, Loaded]:
        """Open the session named by an id or a unique beginning of one, and mend its file.

        A tail that is no record is moved to `<id>.jsonl.bak`. With `write` false nothing is changed on disk, and
        every append raises SessionReadOnly; the same holds for a session of a newer format.
        Raises SessionMissing, SessionBusy when another process writes it, CodetetherError when it cannot be read.
        """
        path = find_session(root, session)
        transcript = cls(path, redact, on_trouble, clock, owner=owner, names=names or Names(root))
        if write:
            transcript._start_writing()
        try:
            return transcript, transcript._load()
        except BaseException:
            transcript.close()
            raise

    @classmethod
    def fork(
        cls, root: Path, session: str, *, upto: str = "", **how: Any
    ) -> tuple[Transcript, Loaded]:
        """Begin a new session with what `session` holds, up to and with message `upto` (default: all).

        The session forked from is only read, so it may be in use. `how` is what `open` takes.
        """
        from codetether.fork import copy_session

        name, repairs = copy_session(find_session(root, session), upto, how.get("clock"))
        transcript, loaded = cls.open(root, name, **how)
        loaded.repairs[:0] = repairs
        return transcript, loaded

    # --- writing ---
    def append_message(self, message: Message) -> Message:
        """Append one message and give it back with its id, which is made when empty or taken."""
        if not message.id or message.id in self._ids:
            message = msgspec.structs.replace(message, id=f"m{self._seq + 1}")
        (lighter,), files = put_aside((message,), self.side, self._redact)
        self._count_in(message)
        self._append(r.MessageRecord, message.id, message=lighter, files=files)
        return message

    def append_setting(self, **settings: str) -> None:
        """Record that settings changed: model, agent, access, title or planning. Those that did not are left out."""
        if unknown := settings.keys() - set(SETTINGS):
            raise TypeError(f"a session has no setting {', '.join(sorted(unknown))}")
        changed = {
            key: value for key, value in settings.items() if self._settings.get(key) != value
        }
        if changed:
            self._settings |= changed
            self._append(r.SettingRecord, settings=changed)

    def append_compaction(self, context: Sequence[Message], upto: str, how: str = "") -> None:
        """Record that `context` stands for all messages up to and with the one named `upto`."""
        lighter, files = put_aside(context, self.side, self._redact)
        self._append(r.CompactionRecord, context=lighter, upto=upto, how=how, files=files)

    def append_usage(self, usage: Usage, why: str = "", model: str = "") -> None:
        """Record the cost of a model call that leaves no message."""
        self._usage += usage
        self._append(r.UsageRecord, usage=usage, why=why, model=model)

    def append_notice(self, level: Literal["info", "warning", "error"], text: str) -> None:
        """Record what the person was told."""
        self._append(r.NoticeRecord, level=level, text=text)

    def append_interrupted(self, why: str = "") -> None:
        """Record that a turn was cut short here."""
        self._append(r.InterruptedRecord, why=why)

    def sync(self) -> bool:
        """Have everything on the disk itself; blocks for milliseconds. False: some of it is in memory only."""
        if self._unnamed and self._journal is not None:
            try:
                self._names.keep(self._unnamed)
                self._unnamed = 0
            except OSError:
                return False
        return self._journal is None or self._journal.sync()

    def close(self) -> None:
        """Write what waits and give the session free. Closing twice is harmless."""
        if self._journal is not None:
            if self._since_state:
                self._append_state()
            self._journal.close()
            self._lost = self._journal.unsaved
            self._journal = None
            self._why_not = "It is closed."
        if self._lease is not None:
            self._lease.drop()
            self._lease = None

    @property
    def closes_at_once(self) -> bool:
        """Whether `close` takes no longer than an append; else it waits for the disk: run it in a thread."""
        return self._lease is None or self._lease.shared

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def files(self) -> Path:
        """`side`, where this session's side files go. Made, for this user alone, when first asked for by a writer."""
        if self._journal is not None:
            try:
                self.side.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                if self._on_trouble is not None:
                    self._on_trouble(f"Cannot make {self.side}: {error.strerror}.")
        return self.side

    @property
    def unsaved(self) -> int:
        """How many records are in memory only, because the disk refused them; once closed, how many are lost."""
        return self._lost if self._journal is None else self._journal.unsaved

    @property
    def title(self) -> str:
        """The title given, or else made from the first user message."""
        return self._settings.get("title") or self._title

    def _append(self, kind: type[r.Record], record_id: str = "", **fields: Any) -> None:
        if self._journal is None:
            raise SessionReadOnly(
                f"Session {self.id} cannot be written. {self._why_not}",
                "Continue a copy of it with --fork.",
            )
        seq = self._seq + 1
        record_id = record_id or f"r{seq}"
        head: dict[str, Any] = {
            "v": r.FORMAT_VERSION,
            "seq": seq,
            "id": record_id,
            "ts": stamp(self._clock()),
        }
        line = self._clean(kind(parent=self._last, **head, **fields))
        self._seq, self._last = seq, record_id
        self._journal.append(line)
        self._since_state += len(line)
        if self._since_state > STATE_EVERY and kind is not r.StateRecord:
            self._append_state()

    def _append_state(self) -> None:
        self._append(
            r.StateRecord,
            settings=dict(self._settings),
            title=self.title,
            messages=self._count,
            usage=self._usage,
        )
        self._since_state = 0

    def _clean(self, record: r.Record) -> bytes:
        """The line for `record`, without secrets."""
        line = r.encode(record)
        if self._redact is None:
            return line
        text = line.decode()
        cleaned = self._redact(text)
        if cleaned == text:
            return line
        line = cleaned.encode()
        return line if r.is_record(line) else r.redact_values(record, self._redact)

    # --- opening ---
    def _start_writing(self) -> None:
        self._lease = Lease(self.path.with_name(f"{self.id}.lock"), self._owner)
        try:
            self._lease.take()
            self._journal = Journal(self.path, self._on_trouble)
        except OSError as error:
            self.close()
            raise _cannot_write(self.path, error) from error

    def _load(self) -> Loaded:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise CodetetherError(f"Cannot read {self.path}: {error.strerror}.") from error
        scan = scan_bytes(data)
        if self._journal is not None and scan.tail and not scan.newer:
            scan.complaints.append(self._journal.move_tail(scan.end, scan.tail))
        elif scan.tail:
            scan.complaints.append(f"{len(scan.tail)} damaged bytes at the end were not read")
        loaded = assemble(scan, self.id, self.side)
        self._seq, self._last = scan.last_seq, scan.last_id
        self._settings = dict(loaded.settings)
        for message in loaded.messages:
            self._count_in(message)
        self._usage, self._since_state = loaded.usage, 0
        if scan.newer:
            self._refuse_newer(loaded)
        elif self._journal is not None and not any(
            isinstance(record, r.SessionRecord) for record in scan.records
        ):
            self._append(r.SessionRecord, session=loaded.header)
        return loaded

    def _refuse_newer(self, loaded: Loaded) -> None:
        self.close()
        self._why_not = "It was written by a newer codetether."
        loaded.repairs.append(
            "written by a newer codetether: what this version does not know is not shown"
        )

    def _count_in(self, message: Message) -> None:
        self._ids.add(message.id)
        self._count += 1
        if message.usage is not None:
            self._usage += message.usage
        if not self._title:
            self._title = title_from((message,))


def _cannot_write(path: Path, error: OSError) -> CodetetherError:
    return CodetetherError(
        f"Cannot write {path}: {error.strerror}.",
        "Check its owner, its permissions and the space left on the disk.",
    )
