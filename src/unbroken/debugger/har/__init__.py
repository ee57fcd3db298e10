"""HAR files, as browsers save them, read as recordings.

`entries` takes the file apart in bounded memory, `lines` says what each entry tells.
"""

from unbroken.debugger.har.entries import looks_like_har
from unbroken.debugger.har.lines import lines_of_har

__all__ = ["lines_of_har", "looks_like_har"]
