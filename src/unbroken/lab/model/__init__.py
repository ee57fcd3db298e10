"""The scripted model: what it is asked, what it answers, what it remembers. No sockets, no clocks.

asked = read_request(method, path, headers, body)       # Asked, Refusal or None
reply = reply_to(asked, settings, memory, variant)      # a head and a healthy body in pieces
"""

from __future__ import annotations

from unbroken.lab.model.answers import Reply, reply_to
from unbroken.lab.model.asks import Asked, Refusal, read_request
from unbroken.lab.model.memory import Memory
from unbroken.lab.model.recordings import Recordings
from unbroken.lab.model.script import Generator, Way, numbered_for, register_generator
from unbroken.lab.model.settings import AnswerSettings

__all__ = [
    "AnswerSettings",
    "Asked",
    "Generator",
    "Memory",
    "Recordings",
    "Refusal",
    "Reply",
    "Way",
    "numbered_for",
    "read_request",
    "register_generator",
    "reply_to",
]
