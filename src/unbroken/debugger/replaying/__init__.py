"""Recordings, served again so that any client can be run against them.

choosing  which recorded attempt answers a request
script    its head, its framing and its end, as they are said again
cutting   its body, cut into other reads than it came in
server    all of it on a port, at the recorded times
running   a command that is run against it
"""

from unbroken.debugger.replaying.cutting import Cut, read_cut
from unbroken.debugger.replaying.environment import environment_of
from unbroken.debugger.replaying.server import ReplayServer, Route, Served, replay

__all__ = ["Cut", "ReplayServer", "Route", "Served", "environment_of", "read_cut", "replay"]
