"""Cells as plain Python: what only the notebook's shell understands is taken out, and nothing else.

Standard library only, because it also runs inside the sandbox.
"""

import ast
import re

RUNS_ITS_BODY = ("time", "capture", "prun")  # %%NAME: the cell below it defines names in the notebook
RUNS_ITS_LINE = ("time", "prun")  # %NAME statement
INSTALLS = re.compile(r"(pip3?|conda|mamba) +(install|list|show|uninstall)\b")
TAKES = re.compile(r"([\w., ]+?)=\s*([%!])(?!=)")  # files = !ls
PAIRS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def without_magics(source: str) -> str:
    """Return a cell as plain Python, with as many lines; a cell that is plain Python already comes back as it is."""
    if _is_python(source):
        return source
    bare = source.lstrip()
    if not bare.startswith("%%"):
        return _lines(source)
    above = source[: len(source) - len(bare)].count("\n") + 1
    head, _, body = bare.partition("\n")
    if re.match(r"%%(\w*)", head).group(1) not in RUNS_ITS_BODY:
        return ""
    return "\n" * above + (body if _is_python(body) else _lines(body))


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _lines(source: str) -> str:
    """Return the lines of a cell, those for the shell replaced. Lines inside brackets and strings are no magics."""
    lines, state, goes_on = [], ("", 0), False
    for line in source.split("\n"):
        if goes_on:  # a magic that ended with a backslash
            lines.append("")
            goes_on = line.endswith("\\")
            continue
        plain = _plain(line) if state == ("", 0) else None
        if plain is None:
            lines.append(line)
            state = _after(line, *state)
        else:
            lines.append(plain)
            goes_on = line.endswith("\\")
            state = _after(plain, "", 0)
    return "\n".join(lines)


def _plain(line: str) -> str | None:
    """Return what Python should see of a line for the shell; None for any other line."""
    bare = line.strip()
    indent = line[: len(line) - len(line.lstrip())]
    if bare.startswith("%"):
        name, _, rest = bare.lstrip("%").partition(" ")
        rest = rest.strip()
        return indent + (rest if name in RUNS_ITS_LINE and rest and not rest.startswith("-") else "pass")
    if bare.startswith(("!", "?")) or INSTALLS.match(bare):
        return indent + "pass"
    if bare.endswith("?") and not re.search(r"[#'\"]", bare):
        return indent + "pass"
    if taken := TAKES.match(bare):
        return indent + taken.group(1) + ("= []" if taken.group(2) == "!" else "= None")
    return None


def _after(line: str, quote: str, depth: int) -> tuple[str, int]:
    """Return the open quotation marks and the number of open brackets behind a line; a backslash counts as both."""
    depth, at = max(depth, 0), 0
    quote = "" if quote == "\\" else quote
    while at < len(line):
        letter = line[at]
        if quote:
            if letter == "\\":
                at += 2
                continue
            if line.startswith(quote, at):
                at, quote = at + len(quote), ""
                continue
        elif letter == "#":
            return quote, depth
        elif letter in "\"'":
            quote = letter * 3 if line.startswith(letter * 3, at) else letter
            at += len(quote)
            continue
        else:
            depth = max(depth + PAIRS.get(letter, 0), 0)
        at += 1
    goes_on = line.endswith("\\")
    if len(quote) == 1 and not goes_on:
        quote = ""  # it was left open, which is an error of its own
    return ("\\" if goes_on and not quote else quote), depth
