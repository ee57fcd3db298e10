"""A secret that one gateway's workers share, and that ends with it."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

__all__ = ["derived", "process_secret"]

_BYTES = 32


def process_secret(run_dir: Path | None) -> bytes:
    """Return 32 random bytes, the same for all workers with one run directory.

    Args:
        run_dir: A directory that only they can read; None where there is one worker.
    """
    if run_dir is None:
        return secrets.token_bytes(_BYTES)
    path = run_dir / "secret"
    draft = run_dir / f"secret.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_BYTES))
    try:
        os.link(draft, path)  # whole or not at all, and the first one stays
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()


def derived(secret: bytes, what: str) -> bytes:
    """Return a key for one purpose; from it nobody can tell the secret, or another's key."""
    return hmac.digest(secret, f"unbroken {what} 1".encode(), "sha256")
