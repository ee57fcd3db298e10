"""Take keys, and as asked contents, out of what passed on the wire, at equal length.

    keys.py       keys in headers, addresses and bodies
    fields.py     keys in bodies, told by the name that they stand under
    names.py      which names are those of keys, which headers and queries are harmless
    forms.py      what is secret enough to be looked for everywhere, and in which forms
    coded.py      a compressed body, looked into
    contents.py   prompts and outputs, line by line: SSE, NDJSON, JSON, or none of them
    values.py     the JSON in it: every text whose place does not say that it is harmless
    arguments.py  JSON inside a JSON string, such as a tool call's arguments, which stays JSON
    shown.py      which texts may stay: types, finish reasons, error codes, ids
    letters.py    what stands in a text's place: x's, or letters of a keyed hash
    lines.py      all of it on the lines of a recording

Bytes go in as they were read and come out as many, however they were cut: what could be the
beginning of something is held back until more is there. So a masked stream has the sizes, cuts,
frames and times of its original, and what judges streams judges it alike.
"""

from unbroken.core.masking.contents import ContentMask
from unbroken.core.masking.keys import KeyMask, Secrets
from unbroken.core.masking.letters import Letters
from unbroken.core.masking.lines import LineMask

__all__ = ["ContentMask", "KeyMask", "Letters", "LineMask", "Secrets"]
