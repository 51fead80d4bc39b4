"""What runs with many agents have in common: a journal that can be believed."""

import resource

import msgspec
import pytest
from codetether.api import CodetetherError
from codetether_crew import Journal, records


class Said(msgspec.Struct, tag="said"):
    text: str


async def test_a_record_that_found_no_room_is_told_and_spoils_no_other(tmp_path):
    journal = Journal(tmp_path)
    await journal.write(Said("one"))
    room = (tmp_path / "journal.jsonl").stat().st_size + 10
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(CodetetherError, match="journal cannot be written: File too large"):
            await journal.write(Said("two"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await journal.write(Said("three"))
    journal.close()
    assert [each.text for each in records(tmp_path, Said)] == ["one", "three"]


async def test_a_journal_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CodetetherError, match="journal cannot be written: Not a directory"):
        await Journal(tmp_path / "file" / "run").write(Said("one"))
