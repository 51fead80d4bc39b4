"""A language server that misbehaves as its argument says, for the client's faults. Standard library only.

    python lsp_server.py MODE [FILE]

FILE, when given, gets a line for each start, and for each message that came, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time

MODE = sys.argv[1]
NOTES = sys.argv[2] if len(sys.argv) > 2 else os.devnull
OUT = sys.stdout.buffer
SAID: dict[str, list] = {}
TEXTS: dict[str, tuple[int, str]] = {}
CAPABILITIES = {
    "textDocumentSync": {"openClose": True, "change": 1, "save": {"includeText": True}},
    "definitionProvider": True,
    "hoverProvider": True,
    "renameProvider": True,
    "workspaceSymbolProvider": True,
    "codeActionProvider": True,
    "executeCommandProvider": {"commands": ["do"]},
}


def note(what):
    with open(NOTES, "a") as file:
        file.write(json.dumps(what) + "\n")


def send(message):
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    OUT.write(
        b"Content-Length: %d\r\nContent-Type: application/vscode-jsonrpc\r\n\r\n" % len(body) + body
    )
    OUT.flush()


def receive():
    length = 0
    while (line := sys.stdin.buffer.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return json.loads(sys.stdin.buffer.read(length)) if length else None


def publish(uri):
    """One error for every line that says `wrong`."""
    version, text = TEXTS[uri]
    if MODE == "quiet":
        publish_changed(uri, text)
        return
    if MODE == "old":
        send(
            {
                "method": "textDocument/publishDiagnostics",
                "params": {
                    "uri": uri,
                    "version": version - 1,
                    "diagnostics": [{"range": span(0, 0, 1), "message": "of the text before"}],
                },
            }
        )
        time.sleep(0.05)
    found = [
        {
            "range": span(number, line.index("wrong"), line.index("wrong") + 5),
            "severity": 1,
            "message": line if MODE == "repeats" else "it is wrong",
            "source": "fake",
            "code": 7,
        }
        for number, line in enumerate(text.split("\n"))
        if "wrong" in line
    ]
    send(
        {
            "method": "textDocument/publishDiagnostics",
            "params": {"uri": uri, "version": version, "diagnostics": found},
        }
    )


def publish_changed(uri, text):
    """Without a version, and only when there is something else to say than before."""
    wrong = [{"range": span(0, 0, 5), "message": "it is wrong"}] if text.startswith("wrong") else []
    if SAID.get(uri) != wrong:
        SAID[uri] = wrong
        send(
            {
                "method": "textDocument/publishDiagnostics",
                "params": {"uri": uri, "diagnostics": wrong},
            }
        )


def attempts():
    """What a server that means harm could do from here."""

    def done(work):
        try:
            work()
        except OSError:
            return False
        return True

    return {
        "write": done(lambda: open("new", "w").close()),
        "overwrite": done(lambda: open("a.fake", "a").close()),
        "cache": done(lambda: open(os.path.join(os.environ["XDG_CACHE_HOME"], "new"), "w").close()),
        "connect": done(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 2)),
        "secrets": [name for name in os.environ if "SECRET" in name],
    }


def span(line, start, end):
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


def misbehave(number, uri):
    if MODE == "die":
        print("it is all too much", file=sys.stderr, flush=True)
        os._exit(3)
    if MODE == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if MODE == "hang":
        return
    if MODE == "garbage":
        OUT.write(b"Segmentation fault (core dumped)\n" * 1000)
        OUT.flush()
        time.sleep(600)
    if MODE == "huge":
        OUT.write(b"Content-Length: 2147483648\r\n\r\n")
        OUT.write(b"x" * 1_000_000)
        OUT.flush()
        time.sleep(600)
    if MODE == "flood":
        line = {"method": "window/logMessage", "params": {"type": 3, "message": "x" * 1_000_000}}
        while True:
            send(line)
    if MODE == "error":
        send({"id": number, "error": {"code": -32603, "message": "no idea"}})
    elif MODE == "odd":
        send({"id": number, "result": [{"uri": 5}]})
    elif MODE == "modified" and number < 4:
        send({"id": number, "error": {"code": -32801, "message": "content modified"}})
    elif MODE == "asks":
        send(
            {
                "id": number,
                "method": "workspace/configuration",
                "params": {"items": [{"section": "fake.a"}]},
            }
        )
        note(["configuration", receive()])
        send(
            {
                "id": "text",
                "method": "client/registerCapability",
                "params": {"registrations": [{"id": "1", "method": "textDocument/implementation"}]},
            }
        )
        note(["register", receive()])
        send(
            {"id": 99, "method": "workspace/applyEdit", "params": {"edit": {"changes": {uri: []}}}}
        )
        note(["apply", receive()])
        send({"id": 100, "method": "something/else", "params": None})
        note(["else", receive()])
        send({"id": 101, "method": "workspace/configuration", "params": None})
        note(["wrong", receive()])
        send({"id": number, "result": {"uri": uri, "range": span(0, 0, 1)}})
    else:
        send({"id": number, "result": {"uri": uri, "range": span(0, 0, 1)}})


def answer(message):
    method, number, params = message["method"], message.get("id"), message.get("params") or {}
    note(message)
    uri = params.get("textDocument", {}).get("uri", "")
    match method:
        case "initialize":
            if MODE == "mute":
                time.sleep(600)
            send({"id": number, "result": {"capabilities": CAPABILITIES}})
        case "textDocument/didOpen":
            TEXTS[uri] = params["textDocument"]["version"], params["textDocument"]["text"]
            publish(uri)
        case "textDocument/didChange":
            TEXTS[uri] = params["textDocument"]["version"], params["contentChanges"][-1]["text"]
            if MODE == "slow":
                time.sleep(float(os.environ.get("SLOW", "0.7")))
            publish(uri)
        case "textDocument/definition":
            misbehave(number, uri)
        case "textDocument/hover" if MODE == "nosy":
            send({"id": number, "result": {"contents": json.dumps(attempts())}})
        case "textDocument/hover":
            send({"id": number, "result": {"contents": TEXTS[uri][1]}})
        case "textDocument/codeAction":
            send(
                {
                    "id": number,
                    "result": [
                        {
                            "title": "Do it by a command",
                            "command": {"title": "do", "command": "do", "arguments": [uri]},
                        },
                        {"title": "Gone", "disabled": {"reason": "no"}},
                    ],
                }
            )
        case "workspace/executeCommand":
            edit = {
                "changes": {params["arguments"][0]: [{"range": span(0, 0, 0), "newText": "done "}]}
            }
            send({"id": 50, "method": "workspace/applyEdit", "params": {"edit": edit}})
            receive()
            send({"id": number, "result": None})
        case "textDocument/rename":
            send({"id": number, "result": RENAMES[MODE](uri, params["newName"])})
        case "shutdown":
            send({"id": number, "result": None})
        case "exit":
            if MODE == "lingers":
                time.sleep(0.3)
            sys.exit(0)
        case _ if number is not None:
            send({"id": number, "result": None})


RENAMES = {
    "outside": lambda uri, _: {
        "changes": {"file:///etc/hostname": [{"range": span(0, 0, 1), "newText": "x"}]}
    },
    "overlap": lambda uri, new: {
        "changes": {
            uri: [
                {"range": span(0, 0, 2), "newText": new},
                {"range": span(0, 1, 3), "newText": new},
            ]
        }
    },
    "files": lambda uri, new: {
        "documentChanges": [
            {
                "textDocument": {"uri": uri, "version": 1},
                "edits": [{"range": span(0, 0, 1), "newText": "W"}],
            },
            {"kind": "rename", "oldUri": uri, "newUri": uri.replace("a.fake", "sub/b.fake")},
            {"kind": "create", "uri": uri.replace("a.fake", "c.fake")},
            {
                "textDocument": {"uri": uri.replace("a.fake", "c.fake"), "version": None},
                "edits": [{"range": span(0, 0, 0), "newText": "made\n"}],
            },
            {"kind": "delete", "uri": uri.replace("a.fake", "old.fake")},
        ]
    },
}

note("started")
while (message := receive()) is not None:
    if "method" in message:
        answer(message)
