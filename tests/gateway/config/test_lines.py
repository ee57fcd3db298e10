"""Where settings stand in a file."""

from __future__ import annotations

from unbroken.gateway.config.lines import line_of, lines_of

TEXT = '''\
listen = "x" # [not.a.table]
hosts = [
  "a = 1",
  "b",
]
[upstreams."my one"]
url = """
[routes]
key = 2
"""
headers.x = "#"
[[routes]]
a = { b = [1, {c = 2}] }
[[routes]]
[routes.options]
d = 1
[[routes.targets]]
[[routes.targets]]
e = 1
[limits.per_caller]
streams = 1
'''


def test_each_setting_has_its_line():
    assert lines_of(TEXT) == {
        "listen": 1,
        "hosts": 2,
        "upstreams.my one": 6,
        "upstreams.my one.url": 7,
        "upstreams.my one.headers": 11,
        "upstreams.my one.headers.x": 11,
        "routes[0]": 12,
        "routes[0].a": 13,
        "routes[1]": 14,
        "routes[1].options": 15,
        "routes[1].options.d": 16,
        "routes[1].targets[0]": 17,
        "routes[1].targets[1]": 18,
        "routes[1].targets[1].e": 19,
        "limits.per_caller": 20,
        "limits.per_caller.streams": 21,
    }


def test_what_has_no_line_is_at_its_table():
    lines = lines_of(TEXT)
    assert line_of(lines, "routes[0].a.b[1].c") == 13
    assert line_of(lines, "hosts[1]") == 2
    assert line_of(lines, "routes[1].upstream") == 14
    assert line_of(lines, "journal.key") is None
