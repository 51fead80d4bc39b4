"""The sandbox `none` under a real child of a session: it runs with all our rights, and the kernel knows it."""

from __future__ import annotations

import sys

import pytest
from codetether.testing import make_kernel


@pytest.mark.parametrize("named", ["auto", "none"])
async def test_a_child_may_do_what_a_confining_sandbox_forbids(tmp_path, named):
    """It writes beside the workspace, and below .git."""
    beside, hook = tmp_path / "beside", tmp_path / "work/.git/hooks/pre-commit"
    hook.parent.mkdir(parents=True)
    code = "import sys, os; [open(p, 'w').write('x') for p in sys.argv[1:]]; print(os.getcwd())"
    async with make_kernel(
        tmp_path, replies=[], plugins=["sandboxes:none"], settings={"sandbox": named}
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work") as session:
            done = await session.run_process([sys.executable, "-c", code, str(beside), str(hook)])
        assert (done.code, done.errors) == (0, "")
        assert done.output.strip() == str(tmp_path / "work")
        assert beside.read_text() == hook.read_text() == "x"
        assert kernel.sandbox_level == "S0"
