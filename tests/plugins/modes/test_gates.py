"""Gates: what a project's files say its checks are, and what is new in what fails."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import trio
from codetether.testing import make_kernel
from codetether_gates import (
    Gate,
    baseline,
    check,
    detect,
    guarded,
    identities,
    steers,
    touched,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def programs(monkeypatch):
    """Every program is installed, but those named."""
    absent = set()
    monkeypatch.setattr(
        shutil, "which", lambda name: None if name in absent else f"/usr/bin/{name}"
    )
    return absent


def project(tmp_path, **files):
    for name, text in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_text(text)
    return tmp_path


def found(directory, **how):
    return {gate.kind: gate.command for gate in detect(directory, **how).gates}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"Cargo__toml": ""}, {"typecheck": "cargo check --quiet --all-targets", "test": "cargo test --quiet --no-fail-fast"}),
        ({"go__mod": ""}, {"typecheck": "go build ./...", "lint": "go vet ./...", "test": "go test ./..."}),
        ({"pom__xml": ""}, {"test": "mvn -q -B test"}),
        ({"pom__xml": "", "mvnw": ""}, {"test": "./mvnw -q -B test"}),
        ({"build__gradle__kts": "", "gradlew": ""}, {"test": "./gradlew --no-daemon -q check"}),
        ({"Makefile": "X := 1\ncheck: all\n\tx\nlint:\n\ty\n"}, {"lint": "make --no-print-directory lint", "test": "make --no-print-directory check"}),
        ({"go__mod": "", "Makefile": "test:\nbuild:\n"}, {"typecheck": "go build ./...", "lint": "go vet ./...", "test": "go test ./...", "build": "make --no-print-directory build"}),
        ({"Makefile": "tests check: build\nbuild lint::\nX Y := test\n"}, {"lint": "make --no-print-directory lint", "test": "make --no-print-directory tests", "build": "make --no-print-directory build"}),
        ({"README__md": "hello"}, {}),
    ],
)  # fmt: skip
def test_checks_by_the_files_of_a_project(tmp_path, programs, files, expected):
    assert found(project(tmp_path, **files)) == expected


def test_node_scripts_by_the_lock_file_of_their_package_manager(tmp_path, programs):
    scripts = {
        "lint": "eslint .",
        "test": 'echo "Error: no test specified" && exit 1',
        "build": "vite build",
        "tsc": "tsc",
    }
    project(tmp_path, package__json=json.dumps({"scripts": scripts}))
    assert found(tmp_path) == {
        "typecheck": "npm run tsc",
        "lint": "npm run lint",
        "build": "npm run build",
    }
    (tmp_path / "pnpm-lock.yaml").write_text("")
    assert found(tmp_path)["lint"] == "pnpm run lint"
    (tmp_path / "package.json").write_text("[1]")
    assert found(tmp_path) == {}


def test_python_tools_that_are_configured_in_the_users_environment(tmp_path, programs):
    tree = tmp_path / "tree"
    tree.mkdir()
    project(
        tree, pyproject__toml="[tool.mypy]\nfiles=['src']\n[tool.ruff]\n[tool.pytest.ini_options]\n"
    )
    (tree / "src").mkdir()
    home = tmp_path / "my home"
    (home / ".venv" / "bin").mkdir(parents=True)
    (home / ".venv" / "bin" / "python").write_text("")
    python = f"PYTHONPATH=\"$PWD/src:$PWD\" '{home}/.venv/bin/python'"
    assert found(tree, home=home) == {
        "typecheck": f"{python} -m mypy",
        "lint": "ruff check --no-cache .",
        "test": f"{python} -m pytest -q -p no:cacheprovider --continue-on-collection-errors",
    }
    assert [gate.kind for gate in detect(tree, home=home).gates] == ["typecheck", "lint", "test"]


def test_a_check_whose_program_is_absent_is_named_and_left_out(tmp_path, programs):
    programs.add("cargo")
    seen = detect(project(tmp_path, Cargo__toml=""))
    assert seen.gates == ()
    assert seen.notes[0] == "typecheck (Cargo.toml) is left out: cargo is not installed"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FAILED tests/test_a.py::test_x[1-2] - assert 1 == 2", "tests/test_a.py::test_x[1-2]"),
        ("ERROR tests/test_a.py - ImportError: no", "tests/test_a.py"),
        ("FAIL: test_x (tests.test_a.T.test_x)", "test_x (tests.test_a.T.test_x)"),
        ("test parser::quotes ... FAILED", "parser::quotes"),
        ("---- parser::quotes stdout ----", "parser::quotes"),
        ("--- FAIL: TestThing (0.02s)", "TestThing"),
        ("FAIL\texample.org/pkg\t0.4s", "example.org/pkg"),
        ("  ✕ adds numbers (12 ms)", "adds numbers"),
        ("not ok 3 - adds", "adds"),
        ("✖ adds numbers (0.512ms)", "adds numbers"),
        ("  ● sums › adds numbers", "sums › adds numbers"),
        ("  ● Console", ""),
        ("  2) adds numbers:", "adds numbers"),
        ("1) CalcTest::testAdd", "CalcTest::testAdd"),
        ("[ERROR]   CalcTest.adds:12 expected: <3> but was: <0>", "CalcTest.adds"),
        ("[ERROR]   CalcTest.adds » NullPointer no", "CalcTest.adds"),
        ("  3:5  error  'x' is not defined  no-undef", "error  'x' is not defined  no-undef"),
        ('\x1b[31msrc/a.py:10: error: Name "x" is not defined  [name-defined]\x1b[0m', 'src/a.py:#: error: Name "x" is not defined  [name-defined]'),
        ("src/a.py:3:5: F401 `os` imported but unused", "src/a.py:#:#: F401 `os` imported but unused"),
        ("src/a.ts(4,7): error TS2304: Cannot find name 'x'.", "src/a.ts(#,#): error TS2304: Cannot find name 'x'."),
        ("error[E0425]: cannot find value `x` in this scope", "error[E0425]: cannot find value `x` in this scope"),
        ("error: could not compile `a` due to 1 previous error", ""),
        ("everything is fine", ""),
        ("F401 [*] `os` imported but unused", "F401 [*] `os` imported but unused"),
        (" --> src/a.py:1:8", "src/a.py"),
        ('  src/a.py:3:5 - error: "x" is not defined', 'src/a.py:#:# - error: "x" is not defined'),
    ],
)  # fmt: skip
def test_a_failure_is_known_by_its_name(line, name):
    assert identities(line) == ({name: 1} if name else {})


def test_why_a_test_failed_is_not_what_failed():
    said = "FAIL: test_x (t.T.test_x)\nAssertionError: 0.123 != 3\nvalue.py:3: error: bad\n"
    assert identities(said) == {"test_x (t.T.test_x)": 1, "value.py:#: error: bad": 1}
    assert identities("ImportError: no\n") == {"ImportError: no": 1}


def test_a_failure_is_the_same_in_another_place_and_on_another_line():
    one = identities("/w/one/src/a.py:10: error: bad\n/w/one/src/a.py:12: error: bad", "/w/one")
    two = identities("/w/two/src/a.py:11: error: bad\n/w/two/src/a.py:15: error: bad", "/w/two")
    assert one == two == {"src/a.py:#: error: bad": 2}


@given(st.text())
def test_no_output_is_too_odd(text):
    assert all(count > 0 for count in identities(text).values())


def test_tests_and_what_configures_gates_are_flagged():
    paths = (
        "src/a.py", "tests/test_a.py", "src/a_test.go", "web/x.spec.ts", "Makefile", "pyproject.toml", "docs/contest.md",
        ".github/workflows/ci.yml", "src/setupTests.ts", ".cargo/config.toml", ".npmrc", "sub/.mypy.ini", "vitest.config.ts",
    )  # fmt: skip
    assert touched(paths) == tuple(
        path for path in paths if path not in ("src/a.py", "docs/contest.md")
    )


@pytest.mark.parametrize("path", ["conftest.py", "tests/conftest.py", "vitest.config.ts", "pytest.ini", "tests/helper.py", "tsconfig.spec.json", "sitecustomize.py"])  # fmt: skip
def test_what_changes_other_tests(path):
    assert guarded(path)
    assert steers(path)


@pytest.mark.parametrize("path", ["test_a.py", "tests/test_a.py", "a/b_test.go", "src/x.spec.ts", "src/test/java/ATest.java"])  # fmt: skip
def test_new_modules_of_tests_change_no_others(path):
    assert guarded(path)
    assert not steers(path)


# --- running ---
@pytest.fixture
def work(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    return work


def kernel_at(tmp_path):
    return make_kernel(tmp_path / "home", plugins=["sandboxes"])


SAY = Gate("test", "cat said; exit $(cat code)")


def says(work, text, code):
    (work / "said").write_text(text)
    (work / "code").write_text(str(code))


async def test_only_new_failures_block(tmp_path, work):
    async with kernel_at(tmp_path) as kernel:
        run = kernel.run_process
        says(work, "FAILED a::one\n", 1)
        before = await baseline([SAY], run, work)
        report = await check([SAY], run, work, before=before)
        assert report.ok
        assert not report.verified
        assert report.told == "test: fails as it did before the work"
        says(work, "FAILED a::one\nFAILED a::two - assert 0\n", 1)
        report = await check([SAY], run, work, before=before)
        assert not report.ok
        assert report.verdicts[0].new == ("a::two",)
        assert "- a::two" in report.feedback()
        assert "a::one" in report.feedback()
        says(work, "all is well\n", 0)
        report = await check([SAY], run, work, before=before)
        assert (report.ok, report.verified) == (True, True)
        says(work, "it broke down\n", 3)
        assert not (await check([SAY], run, work, before=before)).ok
        assert not (await check([SAY], run, work)).ok


async def test_what_passes_the_second_time_is_flaky(tmp_path, work):
    gate = Gate("test", "test -e seen && exit 0; touch seen; echo FAILED a::one; exit 1")
    async with kernel_at(tmp_path) as kernel:
        report = await check([gate], kernel.run_process, work, logs=tmp_path / "logs")
    assert report.ok
    assert report.verdicts[0].flaky
    assert len(list((tmp_path / "logs").iterdir())) == 2


async def test_gates_that_run_beside_each_other_keep_their_own_output(tmp_path, work):
    gates = [Gate("test", f"echo {word}; sleep 0.2") for word in ("one", "two", "three")]
    logs = []

    async with kernel_at(tmp_path) as kernel:

        async def look(gate):
            report = await check([gate], kernel.run_process, work, logs=tmp_path / "logs")
            logs.append(report.verdicts[0].log)

        async with trio.open_nursery() as nursery:
            for gate in gates:
                nursery.start_soon(look, gate)
    assert sorted(Path(log).read_text() for log in logs) == ["one\n", "three\n", "two\n"]


async def test_a_gate_is_confined_limited_logged_and_told_of(tmp_path, work):
    gates = [
        Gate("lint", "touch ../outside; touch inside"),
        Gate("test", "echo begun; sleep 60", seconds=0.3),
        Gate("build", "echo the key is hunter''22; no-such-program"),
    ]
    async with kernel_at(tmp_path) as kernel:
        kernel.redact.add("hunter22")
        report = await check(
            gates, kernel.run_process, work, logs=tmp_path / "logs", redact=kernel.redact.text
        )
    lint, slow, build = report.verdicts
    assert (work / "inside").exists()
    assert not (tmp_path / "outside").exists()
    assert lint.ok
    assert slow.timed_out
    assert "longer than 0.3 s" in slow.why
    assert build.code == 127
    assert "hunter22" not in report.feedback()
    assert "begun" in (tmp_path / "logs" / "002-gate-test.log").read_text()


async def test_a_real_project_with_a_failing_test(tmp_path, work):
    (work / "src").mkdir()
    (work / "src" / "adding.py").write_text("def add(a, b):\n    return a - b\n")
    (work / "test_adding.py").write_text(
        "import unittest, adding\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(adding.add(1, 1), 2)\n"
    )
    (work / "setup.cfg").write_text("")
    (work / ".venv" / "bin").mkdir(parents=True)
    (work / ".venv" / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    gates = detect(work).gates
    async with kernel_at(tmp_path) as kernel:
        report = await check(gates, kernel.run_process, work)
        assert report.verdicts[0].new[0].startswith("test_add (test_adding.T")
        (work / "src" / "adding.py").write_text("def add(a, b):\n    return a + b\n")
        assert (await check(gates, kernel.run_process, work)).verified


@pytest.mark.parametrize(
    ("said", "early"),
    [
        ("ERROR test_a.py - ImportError: no\n!!!!!! Interrupted: 1 error during collection !!!!!!\n", True),
        ("FAILED a.py::x - assert 0\n!!!!!!!!! stopping after 1 failures !!!!!!!!!\n", True),
        ("error[E0425]: cannot find value `x`\nerror: could not compile `a` (lib) due to 1 previous error\n", True),
        ("# a\n./a.go:3:5: undefined: x\nFAIL\ta [build failed]\n", True),
        ("a.py:1: error: invalid syntax\nFound 1 error in 1 file (errors prevented further checking)\n", True),
        ("[ERROR] COMPILATION ERROR : \n[ERROR] /a/A.java:[3,5] cannot find symbol\n", True),
        ("error: rustup could not choose a version of cargo to run\n", True),
        ("Traceback (most recent call last):\nModuleNotFoundError: No module named 'x'\n", True),
        ("make: *** No rule to make target 'test'.  Stop.\n", True),
        ("", True),
        ("FAILED a.py::x - Interrupted: by whom\n1 failed, 3 passed in 0.1s\n", False),
        ("a.py:3: error: bad\nFound 1 error in 1 file (checked 2 source files)\n", False),
        ("\x1b[31m--- FAIL: TestThing (0.02s)\x1b[0m\nFAIL\nFAIL\ta\t0.1s\nok\tb\t0.1s\n", False),
    ],
)  # fmt: skip
async def test_a_check_that_stops_early_says_little(tmp_path, work, said, early):
    async with kernel_at(tmp_path) as kernel:
        says(work, said, 1)
        before = await baseline([SAY], kernel.run_process, work)
        report = await check([SAY], kernel.run_process, work, before=before)
    assert (report.ok, report.verdicts[0].early) == (True, early)
    assert ("stop early" in report.told) == early


async def test_a_log_that_cannot_be_kept_changes_nothing(tmp_path, work):
    (tmp_path / "logs").write_text("no directory")
    says(work, "FAILED a::one\n", 1)
    async with kernel_at(tmp_path) as kernel:
        report = await check([SAY], kernel.run_process, work, logs=tmp_path / "logs")
    assert (report.verdicts[0].new, report.verdicts[0].log) == (("a::one",), "")


async def test_a_linter_that_fails_as_before_names_what_is_new(tmp_path, work):
    ruff = Path(sys.executable).with_name("ruff")
    gate = Gate("lint", f"{ruff} check --no-cache --isolated .")
    (work / "a.py").write_text("import os\n")
    async with kernel_at(tmp_path) as kernel:
        before = await baseline([gate], kernel.run_process, work)
        (work / "a.py").write_text("import os\n\nprint(y)\n")
        report = await check([gate], kernel.run_process, work, before=before)
        assert "F821" in report.told
        (work / "a.py").write_text("# moved\nimport os\n")
        report = await check([gate], kernel.run_process, work, before=before)
        assert (report.ok, report.verdicts[0].early) == (True, False)
        (work / "b.py").write_text("import sys\n")
        report = await check([gate], kernel.run_process, work, before=before)
    assert not report.ok
    assert "b.py" in report.verdicts[0].new
