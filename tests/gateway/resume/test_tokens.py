from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from unbroken.gateway.resume import Tokens, new_stream_id

SECRET, OTHER = b"s" * 32, b"t" * 32


def test_a_token_is_for_one_stream_until_it_expires():
    tokens = Tokens([SECRET])
    mine, theirs = new_stream_id(), new_stream_id()
    token = tokens.make(mine, expires_at=1000.9)
    assert token.startswith("1.1000.")
    assert tokens.good(token, mine, now=999.9)
    assert not tokens.good(token, mine, now=1000.0)
    assert not tokens.good(token, theirs, now=0)
    assert not Tokens([OTHER]).good(token, mine, now=0)


def test_every_changed_letter_is_seen():
    tokens, stream = Tokens([SECRET]), new_stream_id()
    token = tokens.make(stream, expires_at=1000)
    for at in range(len(token)):
        for letter in "A0.-":
            # The last letter of 32 bytes in base64 has two bits that say nothing: compared too.
            other = token[:at] + letter + token[at + 1 :]
            assert other == token or not tokens.good(other, stream, now=0), other


@pytest.mark.parametrize("text", ["", "1", "1..", "2.1000.x", "1.-5.x", "1.1000." + "A" * 4000])
def test_what_is_no_token_is_refused(text):
    assert not Tokens([SECRET]).good(text, "s_x", now=0)


def test_a_secret_can_be_changed():
    stream = new_stream_id()
    old = Tokens([SECRET]).make(stream, expires_at=10)
    both = Tokens([OTHER, SECRET])
    assert both.good(old, stream, now=0)
    assert Tokens([OTHER]).good(both.make(stream, expires_at=10), stream, now=0)


@pytest.mark.parametrize("secrets", [[], [b"short"], [SECRET, b""]])
def test_a_weak_secret_is_refused(secrets):
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(secrets)


def test_the_form_is_what_the_protocol_says():
    token = Tokens([SECRET]).make("s_x", expires_at=77)
    key = hmac.digest(SECRET, b"unbroken resume token 1", hashlib.sha256)
    mac = hmac.digest(key, b"1.s_x.77", hashlib.sha256)
    assert token == "1.77." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
