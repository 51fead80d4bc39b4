"""codesearch: what is found in a file of each language, in broken files and in text; words, ranks, crashes."""

from __future__ import annotations

import pytest
from codetether.api import Workspace
from codetether_tool_codesearch import source, words
from codetether_tool_codesearch.indexer import Indexer
from codetether_tool_codesearch.ranking import fused
from codetether_tool_codesearch.store import Store
from hypothesis import given
from hypothesis import strategies as st

PYTHON = '''"""About."""
MAX = 3

@cached
class A(B):
    """A thing."""
    x = 1
    def m(self, a: int) -> str:
        """Does m."""
        return 1
'''
RUST = """/// A point.
#[derive(Debug)]
pub struct S { a: i32 }
impl<T> Tr for S { pub fn new() -> S { S { a: 1 } } }
trait Tr { fn x(&self); }
macro_rules! m { () => {} }
"""
GO = """package p
// Foo does.
func Foo(a int) error { return nil }
func (r *Recv[T]) M() {}
type S struct { a int }
type I interface { X() }
const (
 A = 1
 B = 2
)
"""
JAVA = "/** A doc. */\n@Foo public class A { /** M doc. */ void m(int a) {} A() {} static final int MAX_X = 3; }\n"
C = """/* Makes foo. */
char *foo(int a) { return 0; }
int bar(void);
#define LIMIT 1
struct P { int x; };
typedef struct { int a; } T;
"""
CPP = "template<class T> T& A::foo(int a) const { return 0; }\nnamespace n { class B { void m() {} ~B(); }; }\n"
RUBY = "module M\n  # A class.\n  class C < D\n    def m(a)\n      1\n    end\n    def self.s; end\n  end\nend\n"
JS = "// Runs.\nfunction run(a) {}\nclass C { m() {} }\nmodule.exports.foo = function() {};\nconst LIMIT_A = 3;\n"
TS = "export abstract class A { abstract m(): void; y = () => 1 }\nexport interface I { q(): void }\nexport type U = 1 | 2;\nexport const f = async (a: number) => a;\n"
EXPECTED = {
    ("a.py", PYTHON): ["constant MAX 2-2", "class A 4-10", "method A.m 8-10"],
    ("a.rs", RUST): ["struct S 3-3", "method S.new 4-4", "trait Tr 5-5", "method Tr.x 5-5", "macro m 6-6"],
    ("a.go", GO): ["function Foo 3-3", "method Recv.M 4-4", "struct S 5-5", "interface I 6-6", "constant A 8-8",
                   "constant B 9-9"],
    ("A.java", JAVA): ["class A 2-2", "method A.m 2-2", "method A.A 2-2", "constant A.MAX_X 2-2"],
    ("a.c", C): ["function foo 2-2", "function bar 3-3", "constant LIMIT 4-4", "struct P 5-5", "type T 6-6"],
    ("a.cpp", CPP): ["method A.foo 1-1", "class n.B 2-2", "method n.B.m 2-2", "method n.B.~B 2-2"],
    ("a.h", CPP): ["method A.foo 1-1", "class n.B 2-2", "method n.B.m 2-2", "method n.B.~B 2-2"],
    ("a.rb", RUBY): ["module M 1-9", "class M.C 3-8", "method M.C.m 4-6", "method M.C.s 7-7"],
    ("a.js", JS): ["function run 2-2", "class C 3-3", "method C.m 3-3", "function foo 4-4", "constant LIMIT_A 5-5"],
    ("a.ts", TS): ["class A 1-1", "method A.m 1-1", "method A.y 1-1", "interface I 2-2", "method I.q 2-2",
                   "type U 3-3", "function f 4-4"],
    ("a.tsx", "export const App = (p: P) => <div>{p.x}</div>;\n"): ["function App 1-1"],
}  # fmt: skip


def named(path, text):
    found = source.entries(path, text.encode())
    return [
        f"{each.kind} {words.joined([each.container and each.container + '.']) + each.name} {each.first}-{each.last}"
        for each in found
        if each.kind != "file"
    ]


@pytest.mark.parametrize(("file", "expected"), EXPECTED.items(), ids=[path for path, _ in EXPECTED])
def test_the_symbols_of_each_language(file, expected):
    assert named(*file) == expected


def test_signature_doc_and_own_text():
    holder, method = source.entries("a.py", PYTHON.encode())[1:3]
    assert holder.signature == "@cached class A(B)"
    assert holder.doc == "A thing."
    assert "x = 1" in holder.body
    assert "return" not in holder.body
    assert (method.signature, method.doc) == ("def m(self, a: int) -> str", "Does m.")
    docs = {path: source.entries(path, text.encode())[0].doc for path, text in EXPECTED}
    assert docs["a.rs"] == "A point."
    assert docs["a.go"] == "Foo does."
    assert docs["A.java"] == "A doc."
    assert docs["a.c"] == "Makes foo."
    assert docs["a.js"] == "Runs."


def test_a_half_written_file_gives_what_can_be_made_out():
    text = PYTHON + "\ndef broken(:\n    x = (\n\ndef after():\n    pass\n"
    assert "class A 4-10" in named("a.py", text)


@given(st.binary(max_size=300), st.sampled_from(["a.py", "a.cpp", "a.rb", "a.tsx", "a.md", "a.go"]))
def test_any_bytes_give_entries_within_the_file(data, path):
    for each in source.entries(path, data):
        assert 1 <= each.first <= each.last <= data.count(b"\n") + 1


def test_deep_nesting_ends():
    entries = source.entries("a.js", b"function f(){" * 20_000 + b"\n" * 200)
    assert len(entries) <= 5_020


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("where is class foo defined", ["foo"]),
        ("the Session.prompt method", ["Session.prompt"]),
        ("parse_args", ["parse_args"]),
        ("what calls HttpClient", ["HttpClient"]),
        ("retry a failed request", []),
        ("HTTP errors", []),
    ],
)
def test_what_is_written_like_a_name(query, names):
    assert words.names(query) == names


def test_words():
    assert words.split("parseHTTPHeader_nowX2") == "parse HTTP Header now X2"
    assert words.wanted("Where is the code that parses HTTPHeaders?") == [
        "parses",
        "http",
        "headers",
    ]
    assert words.wanted("where is it") == ["where", "is", "it"]


def test_fusion_rewards_agreement():
    scores = fused([[1, 2, 3], [4, 2, 5]])
    assert max(scores, key=scores.__getitem__) == 2
    assert scores[1] == scores[4] == 1 / 61


def test_a_file_that_ends_the_reader_twice_is_left_out(tmp_path, monkeypatch):
    work, place = tmp_path / "work", tmp_path / "place"
    work.mkdir()
    place.mkdir()
    (work / "bad.py").write_text("def crashes(): pass\n")
    (work / "good.py").write_text("def works(): pass\n")

    class Crash(BaseException):
        pass

    def crash(path, data):
        if path == "bad.py":
            raise Crash
        return entries(path, data)

    entries = source.entries
    monkeypatch.setattr(source, "entries", crash)
    for _ in range(2):
        store = Store(str(place))
        indexer = Indexer(Workspace(work), store, None)
        indexer.plan(["bad.py", "good.py"])
        with pytest.raises(Crash):
            indexer.step()
        indexer.close()
        store.close()
    store = Store(str(place))
    indexer = Indexer(Workspace(work), store, None)
    indexer.plan(["bad.py", "good.py"])
    assert indexer.step()
    assert not indexer.pending
    assert (store.files["bad.py"].symbols, store.files["good.py"].symbols) == (0, 1)
    indexer.close()
    store.close()


def test_only_one_process_indexes(tmp_path):
    one, two = Store(str(tmp_path)), Store(str(tmp_path))
    assert one.acquire()
    assert not two.acquire()
    one.close()
    assert two.acquire()
    two.close()
