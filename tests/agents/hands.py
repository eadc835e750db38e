"""The tools of very different agents, by what they are for."""

import json
import re

from conversation import Call, Lost, Tool, sample

EXEC = "(functions__)?exec"
LOOKUP = r"(.*[_.-])?lookup"
PROPERTIES = {
    "path": ["file_path", "absolute_path", "filePath", "path"],
    "content": ["content", "contents"],
    "old": ["old_string", "oldString"],
    "new": ["new_string", "newString"],
    "command": ["command", "cmd"],
    "patch": ["input", "patchText", "patch"],
    "query": ["query"],
}


class Hands:
    """Finds the tool for a purpose, and writes its arguments."""

    def __init__(self, tools, folder):
        self.tools, self.folder = tools, folder

    def find(self, *names):
        for name in names:
            for tool in self.tools:
                if re.fullmatch(name, tool.name):
                    return tool
        return None

    def needed(self, *names):
        tool = self.find(*names)
        if tool is None:
            raise Lost(f"none of the tools {names} is on offer: {[tool.name for tool in self.tools]}")
        return tool

    def path(self, name):
        return f"{self.folder}/{name}"

    def call(self, tool, **values):
        """A call with each value under the property that the tool's schema has for it."""
        if tool.schema is None:
            [text] = values.values()
            return Call(tool.name, text, namespace=tool.namespace)
        properties, arguments = tool.schema.get("properties", {}), {}
        for kind, value in values.items():
            name = next((name for name in PROPERTIES[kind] if name in properties), None)
            if name is None:
                raise Lost(f"{tool.name} has no property for {kind}: {list(properties)}")
            arguments[name] = value
        for name in tool.schema.get("required", []):
            if name not in arguments:
                arguments[name] = sample(properties.get(name, {}), name)
        return Call(tool.name, arguments, namespace=tool.namespace)

    def read(self, name):
        tool = self.find("Read", "read_file", "read")
        return self.call(tool, path=self.path(name)) if tool else self.shell(f"cat {name}")

    def look(self, name):
        return self.call(self.needed("view_image", "Read", "read_file", "read"), path=self.path(name))

    def shell(self, command):
        tool = self.needed("Bash", "exec_command", "run_shell_command", "bash", "shell_command")
        # Every agent runs in the folder, and some remove a `cd` to it.
        return self.call(tool, command=command)

    def write(self, name, content):
        tool = self.find("Write", "write_file", "write")
        if tool:
            return self.call(tool, path=self.path(name), content=content)
        tool = self.find("apply_patch")
        if tool:
            return self.patch(tool, f"*** Add File: {self.path(name)}", [f"+{line}" for line in content.splitlines()])
        return self.shell(f"cat > {name} <<'END'\n{content}END")

    def edit(self, name, old, new):
        tool = self.find("Edit", "replace", "edit")
        if tool:
            return self.call(tool, path=self.path(name), old=old, new=new)
        tool = self.find("apply_patch")
        if tool:
            return self.patch(tool, f"*** Update File: {self.path(name)}", ["@@", f"-{old}", f"+{new}"])
        return self.shell(f"sed -i 's/{old}/{new}/' {name}")

    def patch(self, tool, head, lines):
        return self.call(tool, patch=patch(head, lines))

    def searcher(self):
        return self.find("tool_search", "ToolSearch")

    def search(self, query):
        tool = self.needed("tool_search", "ToolSearch")
        call = self.call(tool, query=query)
        call.search = tool.search
        return call

    def lookup(self, key):
        tool = self.needed(LOOKUP)
        return Call(tool.name, arguments(key), namespace=tool.namespace)


class Code(Hands):
    """The hands of a model that calls its tools in JavaScript, which it gives to one tool."""

    def script(self, name, argument, shown="text(typeof r === 'string' ? r : JSON.stringify(r))"):
        tool = self.needed(EXEC)
        code = f"const r = await tools.{name}({json.dumps(argument, ensure_ascii=False)}); {shown};"
        return self.call(tool, patch=code)

    def shell(self, command):
        return self.script("exec_command", {"cmd": command})

    def look(self, name):
        return self.script("view_image", {"path": self.path(name)}, "image(r)")

    def patch(self, _, head, lines):
        return self.script("apply_patch", patch(head, lines))

    def find(self, *names):
        # All other tools are inside.
        return Tool("inside", None) if {LOOKUP, "apply_patch"} & {*names} else super().find(*names)

    def lookup(self, key):
        return self.script("mcp__demo__lookup", arguments(key))


def patch(head, lines):
    return "\n".join(["*** Begin Patch", head, *lines, "*** End Patch"]) + "\n"


def arguments(key):
    """What the tool `lookup` of `mcp_server.py` must be called with."""
    return {"key": key, "options": {"depth": 3, "exact": True}, "tags": ["first", "sec ond"]}


def hands_for(tools, folder):
    coding = any(re.fullmatch(EXEC, tool.name) for tool in tools)
    return (Code if coding else Hands)(tools, folder)
