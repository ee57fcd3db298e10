"""Write docs/reference/lab.md: what the lab can be told, from its own tables and docstrings.

python scripts/fault_table.py
"""

# ruff: noqa: E501  a table cannot be wrapped
from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from unbroken.lab.injectors import INJECTORS, Injector
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.control import PATHS

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "lab.md"

__all__ = ["PAGE", "page"]

_HEAD = """\
<!-- Written by scripts/fault_table.py from src/unbroken/lab: change that, then run `make docs`. -->
# The lab

What `unbroken lab serve` and `unbroken lab proxy` can be told. [How to use it](../how-to/use-the-lab.md)
is another page.

## Plans

What goes wrong is written in the model's name, so that a client under test needs no code for it:

```text
lab/cut@120+stall@3s               one attempt: a silence of 3 s half-way, and a cut at byte 120
lab/cut.rst@30t,http.503*2         the first attempt is reset after 30 deltas, the next two are refused
lab/stall.comment*                 every attempt stalls behind comments
lab/cut@0.5;tokens=500;seed=7      settings of the answer stand behind a semicolon
```

`,` separates the attempts of one stream, `+` joins the faults of one attempt, in any order. `*3` makes three
attempts of one, `*` repeats it for ever; `ok` is an attempt without a fault. After the last attempt answers
are whole. A fault is a name, a variant after a point, and values after `@`, told apart by their units:

| value | means |
|---|---|
| `120`, `120b`, `2k`, `1M` | after so many bytes of the body |
| `12f` | after so many frames that hold an event |
| `30t` | after so many content frames; a provider would call them tokens |
| `0.5`, `50%` | after this share of the content; not with the proxy, which does not know the answer |
| `rand` | anywhere; drawn by the seed |
| `3s`, `250ms` | so long |
| `x5`, `x2k` | so many times, or bytes |

A plan may also come in the header `x-lab-plan`, from a scenario file (`--scenarios`), from the control API, or
from `--plan` for all models whose names do not begin with `lab/`. What cannot be (an unknown fault, a
place behind the answer's end) is answered with 400 and one line that says why.

Attempts are counted for each model's name; the count begins anew once an answer went out whole after the
plan was used up, or after a minute without a request. `;id=17` keeps streams apart that have the same plan.

"""

_ORACLE = """\
## The numbered answer

Every token of an answer is an invented word and its number, such as `miloka17`; the last one ends in a full
stop. The word follows from number, seed and variant, so what was cut, glued together or made up is no token
of the answer. From the text alone, `unbroken.lab.oracle.examine(text)` tells what was lost, repeated,
reordered or invented, and whether a truncated text was taken for the whole. Some words hold letters of
two and four bytes. In a tool call the same text stands in the arguments.

## Control

The mock server answers on paths of its own, for tests in any language;
[the proxy's](../how-to/break-a-real-provider.md) are on its page.

| request | does |
|---|---|
| `GET /` | says what this is: addresses, paths, faults |
| `POST /_lab/sessions` | makes a session from `{"plan": ..., "settings": {...}}`; answers with its id, the model's name and the variables for a client |
| `GET /_lab/sessions/ID` | its log: each attempt with its faults, when they struck, what was sent, and how it ended |
| `DELETE /_lab/sessions/ID` | forgets it |
"""


def _takes(cls: type[Injector]) -> str:
    words = {"place": "place", "seconds": "time", "count": "`x` number"}
    return ", ".join(word for name, word in words.items() if name in cls.takes)


def _faults() -> list[str]:
    lines = ["## Faults\n", "`unbroken lab faults` prints this table.\n"]
    lines += ["| fault | what it does | variants | takes | kind |", "|---|---|---|---|---|"]
    for name, cls in sorted(INJECTORS.items()):
        hows = ", ".join(f"`{how}`" for how in cls.hows if how)
        kind = f"`{cls.kind}`" if cls.kind else ""
        lines.append(f"| `{name}` | {cls.summary} | {hows} | {_takes(cls)} | {kind} |")
    lines.append(
        "\n*kind* is what a careful reader of the stream reports; where there is none, the"
    )
    lines.append("answer is whole all the same, or nobody can know. One more is")
    lines.append("[one file](../how-to/add-a-fault.md).\n")
    return lines


def _settings() -> list[str]:
    _, _, section = (AnswerSettings.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {12})*)", section, re.MULTILINE)
    meanings = {name: re.sub(r"\s+", " ", text).strip() for name, text in found}
    lines = ["## Settings\n", "Behind a semicolon in a plan, or as options of `lab serve`.\n"]
    lines += ["| setting | default | what it is |", "|---|---|---|"]
    for field in dataclasses.fields(AnswerSettings):
        name = field.name.removesuffix("_s")
        default = "all" if name == "honours" else f"`{field.default}`" if field.default else ""
        if field.default == 0:
            default = "`0`"
        lines.append(f"| `{name}` | {default} | {meanings[field.name].replace('``', '`')} |")
    lines.append("| `no` | | what does not work, of what `honours` may say: `no=cursor-seed` |")
    lines.append("| `id` | | names the session |\n")
    return lines


def _paths() -> list[str]:
    lines = [
        "## Paths\n",
        "Streamed and not. The base URL is the server's root; SDKs of OpenAI want",
    ]
    lines += ["`/v1` behind it.\n", "| who | where |", "|---|---|"]
    return [*lines, *(f"| {who} | `{where}` |" for who, where in PATHS), ""]


def page() -> str:
    """Return the page as it should be."""
    return _HEAD + "\n".join([*_faults(), *_settings(), *_paths()]) + "\n" + _ORACLE


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}")
