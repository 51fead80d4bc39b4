"""An MCP server of the standard library alone, for tests: quick to start, and as bad as its file of tools says.

    mcp_fake.py TOOLS LOG

TOOLS is JSON, read anew for each listing: {"tools": [...], "instructions": ...}. A tool's name says what it does. With
"said" there are a resource and a prompt, too, whose names and texts are that.
LOG gets a line for each start and for each message that comes in.
"""

import json
import os
import sys
import time

TOOLS, LOG = sys.argv[1:3]


def log(line):
    with open(LOG, "a") as file:
        file.write(f"{line}\n")


def send(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(number, **result):
    send(id=number, result=result)


def text(number, said, **more):
    answer(number, content=[{"type": "text", "text": said}], **more)


def script():
    with open(TOOLS) as file:
        return json.load(file)


def call(number, name, arguments, meta):
    if name.startswith("echo"):
        text(number, json.dumps(arguments))
    elif name == "env":
        text(number, json.dumps({"cwd": os.getcwd(), **os.environ}))
    elif name == "big":
        text(number, "x" * arguments["bytes"])
    elif name == "escape":
        text(number, "\x1b]0;owned\x07\x1b[31mred\x1b[0m \u202eback")
    elif name == "picture":
        answer(number, content=[{"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}])
    elif name == "say":
        text(number, script()["said"])
    elif name == "fail":
        text(number, "no such thing", isError=True)
    elif name == "structured":
        answer(number, content=[], structuredContent={"a": [1, 2]})
    elif name == "die":
        print("I fell", file=sys.stderr, flush=True)
        os._exit(3)
    elif name == "never":
        token = meta.get("progressToken")
        send(
            method="notifications/progress",
            params={"progressToken": token, "progress": 1, "total": 4, "message": "at it"},
        )
    elif name == "elicit":
        send(id="question", method="elicitation/create", params=script()["elicit"])
        while (heard := json.loads(sys.stdin.readline())).get("id") != "question":
            pass
        text(number, json.dumps(heard.get("result") or heard.get("error")))
    elif name == "ask":
        for each in range(1000):
            send(id=f"ours {each}", method="roots/list")
        time.sleep(3600)
    elif name == "change":
        script_now = script()
        with open(TOOLS, "w") as file:
            json.dump({**script_now, "tools": script_now["next"]}, file)
        send(method="notifications/tools/list_changed")
        text(number, "changed")
    else:
        send(id=number, error={"code": -32602, "message": f"unknown tool {name}"})


log("start")
if script().get("dead"):
    print("I cannot", os.environ.get("FAKE_TOKEN"), file=sys.stderr, flush=True)
    sys.exit(1)
print("hello, this line is no message", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    method, number, params = asked.get("method"), asked.get("id"), asked.get("params") or {}
    told = script()
    log(method if method != "tools/call" else f"tools/call {params['name']}")
    if method == "initialize":
        log(f"capabilities {sorted(params['capabilities'])}")
        answer(
            number,
            protocolVersion=params["protocolVersion"],
            capabilities={"tools": {"listChanged": True}}
            | ({"resources": {}, "prompts": {}} if "said" in told else {}),
            serverInfo={"name": "fake", "version": "1"},
            instructions=script().get("instructions", ""),
        )
    elif method == "tools/list" and "endless" in told:  # a page, and always one more
        time.sleep(told["endless"])
        one = {"name": f"t{number}", "description": "x" * told["bytes"]}
        one["inputSchema"] = {"type": "object"}
        answer(number, tools=[one], nextCursor="more")
    elif method == "tools/list" and told.get("flaps"):
        answer(number, tools=[{"name": f"t{number}", "inputSchema": {"type": "object"}}])
        send(method="notifications/tools/list_changed")
    elif method == "tools/list":
        answer(number, tools=script()["tools"])
    elif method == "tools/call":
        call(number, params["name"], params.get("arguments", {}), params.get("_meta", {}))
    elif method == "resources/list" and "said" in told:
        answer(number, resources=[{"uri": "note://one", "name": told["said"]}])
    elif method == "resources/read" and "said" in told:
        answer(number, contents=[{"uri": "note://one", "text": told["said"]}])
    elif method == "prompts/list" and "said" in told:
        answer(number, prompts=[{"name": "greet"}])
    elif method == "prompts/get" and "said" in told:
        said = {"type": "text", "text": told["said"]}
        answer(number, messages=[{"role": "user", "content": said}])
    elif number is not None:
        send(id=number, error={"code": -32601, "message": "Method not found"})
