"""A client with bugs, for what shrinks recordings: it is run as a command.

Each word names a bug that it does not have any more.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import urllib.parse


def main() -> None:
    fixed = set(sys.argv[1:])
    url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    connection.request("POST", url.path + "/chat/completions", b"{}")
    response = connection.getresponse()
    text, rest = "", b""
    while data := response.read1(65536):
        if "cuts" in fixed:
            data, rest = rest + data, b""
            data, found, rest = data.rpartition(b"\n")
            data += found
        for line in data.decode().split("\n"):
            if line.startswith(":") and "pings" not in fixed:
                raise ValueError("a ping is beyond me")
            if not line.startswith("data: {"):
                continue
            value = json.loads(line[6:])
            if "error" in value:
                raise RuntimeError(f"the server said {value['error']['type']}")
            for choice in value["choices"]:
                text += choice["delta"].get("content") or ""
                if "needle" in text and "needle" not in fixed:
                    raise KeyError("needle")
    print(text)


main()
