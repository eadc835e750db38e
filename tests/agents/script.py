"""The scripted model: a function from the tools on offer and the history to the next step. It knows no dialect.

The task is in the user's text, see `PROMPT`. Its facts are random and come from files, the shell, a picture and an MCP
server, so that the answer is right only if every call and every result arrived as it was written.
"""

import json
import re

from conversation import Call, Lost, Step, sample
from hands import LOOKUP, hands_for
from picture import colour

PROMPT = (
    "Work in the folder `{folder}`. Read notes.txt, and run a shell command that prints token.txt. Look up the key of "
    "the notes with the tool `lookup`. {look}Write answer.txt with what was found, and set the status in notes.txt to "
    "done. Then write the SHA-256 of answer.txt to sum.txt with a shell command, and say the sum."
)
LOOK = "Look at picture.png and name its colour. "
# What escaping breaks first.
HARD = "quotes \" ' and \\ back\\nslash,\ttab, é ✓ 𝄞 日本語, $HOME `tick` ${x} </tag> & {\"a\": [1]}"


def following(conversation, issued, last):
    """The next step.

    `issued` are the calls that the model made so far, the `last` of them in its latest step. None may be lost or
    changed on its way through the agent and the gateway.
    """
    if conversation.schema is not None:
        return Step(json.dumps(sample(conversation.schema or {"type": "object"}, "answer")))
    if conversation.forced is not None:
        tool = next(tool for tool in conversation.tools if conversation.forced in ("", tool.name))
        return Step(calls=[Call(tool.name, sample(tool.schema or {}, "answer"))])
    folder = re.search(r"in the folder `([^`]+)`", conversation.said)
    if not folder or not conversation.tools:
        return Step("A simulated answer.")
    unanswered = [call.name for call, result in zip(conversation.calls, conversation.results) if result is None]
    if unanswered:
        raise Lost(f"calls without results: {unanswered}")
    for mine, theirs in zip(issued, conversation.calls):
        if not mine.same(theirs):
            raise Lost(f"the model made {mine}, and the history has {theirs}")
    if not len(issued) - last <= len(conversation.calls) <= len(issued):
        raise Lost(f"the model made {len(issued)} calls, and the history has {len(conversation.calls)}")
    return Task(folder[1], conversation, LOOK.strip() in conversation.said).step()


class Missing(Exception):
    """A step whose results are not there yet."""

    def __init__(self, text, calls):
        super().__init__(text)
        self.text, self.calls = text, calls


class Task:
    def __init__(self, folder, conversation, looks):
        self.folder, self.conversation, self.looks = folder, conversation, looks
        self.hands = hands_for(conversation.tools, folder)
        self.taken = 0

    def step(self):
        try:
            return Step(self.run(), reasoning="Everything is done.")
        except Missing as missing:
            return Step(missing.text, missing.calls, f"Step {self.taken + 1} is next: {missing.text}")

    def results(self, text, calls):
        """The results of the calls, in their order; where they are not there, the calls are the next step."""
        at, self.taken = self.taken, self.taken + len(calls)
        if len(self.conversation.calls) < self.taken:
            self.taken = at
            raise Missing(text, calls)
        found = list(zip(self.conversation.calls, self.conversation.results))[at:self.taken]
        for call, (theirs, _) in zip(calls, found):
            if not call.same(theirs):
                raise Lost(f"{call} was to be called, and the history has {theirs}")
        return [result for _, result in found]

    def run(self):
        """The task from its beginning; ends at the first step without results."""
        hands = self.hands
        notes, token = self.results("I read the notes and the token.", [hands.read("notes.txt"),
                                                                        hands.shell("cat token.txt")])
        key, token = fact(r"key: (\w+)", notes), fact(r"token-\w+", token)
        # Some agents offer the tools of MCP servers after a search only.
        searched = any(hands.searcher() and call.name == hands.searcher().name for call in self.conversation.calls)
        if searched or not hands.find(LOOKUP):
            self.results("I look for the tool.", [hands.search("lookup")])
        [looked] = self.results("I look up the key.", [hands.lookup(key)])
        lines = [f"token {token}", f"secret {fact(r'secret-[0-9a-f]+', looked)}"]
        if self.looks:
            [seen] = self.results("I look at the picture.", [hands.look("picture.png")])
            images = seen.images or self.conversation.images
            if not images:
                raise Lost(f"no picture came with its result: {seen.text[:300]!r}")
            lines.append(f"colour {colour(images[-1])}")
        content = "\n".join([*lines, HARD, ""])
        self.results("I write the answer.", [hands.write("answer.txt", content)])
        self.results("I change the notes.", [hands.edit("notes.txt", "status: open", "status: done")])
        [summed] = self.results("I run the check.", [hands.shell("sha256sum answer.txt | tee sum.txt")])
        return f"Finished, and the sum is {fact(r'[0-9a-f]{64}', summed)}."


def fact(pattern, result):
    found = re.search(pattern, result.text)
    if not found:
        raise Lost(f"no {pattern!r} in the result {result.text[:300]!r}")
    return found[found.lastindex or 0]
