"""Who calls, and what of their keys goes on."""

from __future__ import annotations

import hashlib
import tomllib

import pytest

from unbroken.gateway.callers import Callers, new_key
from unbroken.gateway.config import (
    CallerConfig,
    CallerLimits,
    GatewayConfig,
    LimitsConfig,
    OwnLimits,
    Secret,
    load,
)

OURS, OTHERS = "sk-unbroken-ours", "sk-unbroken-others"


def sha256(key):
    return hashlib.sha256(key.encode()).hexdigest()


CALLERS = Callers(
    GatewayConfig(
        callers=(
            CallerConfig(team="ours", key_sha256=(sha256(OURS), sha256("sk-old").upper())),
            CallerConfig(
                team="others",
                key=Secret(OTHERS),
                limits=OwnLimits(streams=None, bytes_per_minute=9),
            ),
        ),
        limits=LimitsConfig(per_caller=CallerLimits(streams=4, requests_per_minute=60)),
    )
)


@pytest.mark.parametrize(
    ("headers", "team"),
    [
        ([("authorization", f"Bearer {OURS}")], "ours"),
        ([("authorization", f"bearer  {OURS} ")], "ours"),
        ([("authorization", OURS)], "ours"),
        ([("x-api-key", OURS)], "ours"),
        ([("x-goog-api-key", OTHERS)], "others"),
        ([("x-unbroken-key", OTHERS)], "others"),
        ([("x-api-key", "sk-old")], "ours"),
        ([("authorization", "Bearer sk-provider"), ("x-unbroken-key", OURS)], "ours"),
        ([("authorization", f"Bearer {OURS}"), ("x-unbroken-key", OTHERS)], "others"),
        ([("authorization", "Bearer sk-provider"), ("x-api-key", OURS)], "ours"),
        ([("authorization", f"Bearer {sha256(OURS)}")], None),
        ([("authorization", f"Bearer {OURS[:-1]}")], None),
        ([("authorization", "Bearer ")], None),
        ([("authorization", f"Basic {OURS}")], None),
        ([("cookie", OURS)], None),
        ([], None),
        ([("x-api-key", "a" * 10_000)], None),
    ],
)
def test_a_key_is_found_wherever_an_sdk_puts_it(headers, team):
    caller = CALLERS.who([(name.encode(), value.encode()) for name, value in headers])
    assert (caller.team if caller else None) == team


def test_no_key_of_ours_goes_on_and_the_providers_does():
    headers = [
        (b"host", b"x"),
        (b"authorization", b"Bearer sk-provider"),
        (b"x-api-key", OTHERS.encode()),
        (b"x-goog-api-key", OURS.encode()),
        (b"x-unbroken-key", b"whatever"),
    ]
    assert CALLERS.forwarded(headers) == headers[:2]
    assert CALLERS.forwarded([(b"authorization", f"Bearer {OURS}".encode())]) == []


def test_a_scope_is_of_one_key_and_tells_nothing():
    def scope(key):
        return CALLERS.who([(b"x-api-key", key.encode())]).scope

    assert scope(OURS) == CALLERS.who([(b"authorization", b"Bearer " + OURS.encode())]).scope
    assert len({scope(OURS), scope("sk-old"), scope(OTHERS), sha256(OURS)}) == 4


def test_limits_are_the_callers_own_where_set():
    ours = CALLERS.who([(b"x-api-key", OURS.encode())]).limits
    others = CALLERS.who([(b"x-api-key", OTHERS.encode())]).limits
    assert ours == CallerLimits(streams=4, requests_per_minute=60)
    assert others == CallerLimits(streams=None, requests_per_minute=60, bytes_per_minute=9)


def test_without_callers_everybody_is_served_and_known_by_their_key():
    callers = Callers(GatewayConfig())
    nobody = callers.who([])
    one = callers.who([(b"authorization", b"Bearer sk-1")])
    assert (nobody.team, nobody.scope) == ("", None)
    assert one.scope == callers.who([(b"x-api-key", b"sk-1")]).scope
    assert one.scope != callers.who([(b"x-api-key", b"sk-2")]).scope
    assert callers.forwarded([(b"x-api-key", b"sk-1")]) == [(b"x-api-key", b"sk-1")]


@pytest.mark.parametrize("team", ["search", 'the "A" team\\', "équipe\x7f\n"])
def test_a_new_key_lets_its_team_in(team, tmp_path):
    made, again = new_key(team), new_key(team)
    assert made.key != again.key
    assert made.key not in repr(made)
    assert len(made.key) >= 43
    file = tmp_path / "gateway.toml"
    file.write_text(made.toml, "utf-8")
    assert tomllib.loads(made.toml)["callers"][0]["team"] == team
    callers = Callers(load(file, {}))
    assert callers.who([(b"authorization", f"Bearer {made.key}".encode())]).team == team
    assert callers.who([(b"authorization", f"Bearer {again.key}".encode())]) is None
