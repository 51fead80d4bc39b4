"""A scripted model that mends an adder, for the tests of the interfaces in terminals."""

SCRIPT = r"""
[[rules]]
when = {user = "fix", step = 0}
reply = {thoughts = "look first", text = "I look.", calls = [{name = "read_file", arguments = {path = "calc.py"}}]}
[[rules]]
when = {after = "read_file"}
reply = {text = "Wrong sign:", calls = [{name = "edit", arguments = {path = "calc.py", old_string = "a - b", new_string = "a + b"}}]}
[[rules]]
when = {after = "edit"}
reply = {text = "# Fixed\n\nIt *adds* now.\n\n```python\nadd(1, 2)  # 3\n```\n\n| was | is |\n| --- | --- |\n| a - b | a + b |"}
[[rules]]
when = {user = "wait", step = 0}
reply = {text = "Waiting.", calls = [{name = "bash", arguments = {command = "echo begun; sleep 600"}}]}
[[rules]]
when = {user = "count", step = 0}
reply = {delay = 0.002, text = "NUMBERS all said."}
[otherwise]
text = "The end."
""".replace("NUMBERS", " ".join(f"{n:04}" for n in range(3000)))
