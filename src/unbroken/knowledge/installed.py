"""Whether what is installed is what a record speaks of."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import metadata

__all__ = ["fits_version", "fitting"]

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(.*)", re.DOTALL)
_PART = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*v?(\d+(?:\.\d+)*)(\.\*)?[\w.+-]*\s*")


@lru_cache(maxsize=4096)
def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None
    except Exception:  # noqa: BLE001 - a broken installation of somebody else's package
        return None


@lru_cache(maxsize=4096)
def fitting(requirements: tuple[str, ...]) -> str | None:
    """Return what is installed of what a record names.

    Args:
        requirements: As pip writes them, such as ``openai>=3``. Names of models and engines are
            no packages, and say nothing.

    Returns:
        Name and version of the first that fits; ``""`` if only others are installed; None if
        nothing of it is installed.
    """
    other = False
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None or not re.match(r"\s*[<>=!~]", found[2]):
            continue
        installed = _version_of(found[1])
        if installed is None:
            continue
        if fits_version(installed, found[2]):
            return f"{found[1]} {installed}"
        other = True
    return "" if other else None


def fits_version(version: str, specifiers: str) -> bool:
    """Return whether a version is one that specifiers take (``>=1.0,<2``).

    Compares the numbers of releases, which is what records need; suffixes such as ``rc1`` are
    not looked at, and a specifier that cannot be read takes nothing.
    """
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if found is None:
        return False
    have = _numbers(found[1])
    for part in specifiers.partition(";")[0].split(","):
        read = _PART.fullmatch(part)
        if read is None or not _takes(read[1], have, _numbers(read[2]), read[3] is not None):
            return False
    return True


def _takes(operator: str, have: tuple[int, ...], want: tuple[int, ...], any_below: bool) -> bool:
    width = len(want)
    begins = _wide(have, width)[:width] == want
    length = max(len(have), width)
    a, b = _wide(have, length), _wide(want, length)
    match operator:
        case "==" | "===":
            return begins if any_below else a == b
        case "!=":
            return not (begins if any_below else a == b)
        case "~=":
            return a >= b and _wide(have, width)[: width - 1] == want[:-1]
        case ">=":
            return a >= b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case _:
            return a < b


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _wide(version: tuple[int, ...], length: int) -> tuple[int, ...]:
    return version + (0,) * (length - len(version))
