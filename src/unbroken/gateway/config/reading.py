"""From plain values, as TOML, environment and flags give them, to the settings' classes.

msgspec converts too, but stops at the first error and knows nothing of secrets, of places, or
of what a wrong name was meant to be. Here every value is tried, so that all is told at once.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from msgspec import inspect

from unbroken.gateway.config.problems import Problem, did_you_mean, shown
from unbroken.gateway.config.secret import Secret, Value

__all__ = ["FAILED", "Given", "Reading"]

FAILED: Any = object()
"""Stands for a value that could not be read; the problem was told."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value from the environment or a flag: it may be text for a number, and a bare secret."""

    value: Any = field(repr=False)
    source: str


@dataclass(slots=True)
class Reading:
    """One conversion: where secrets are, and what was found wrong so far.

    Attributes:
        environ: Where ``{ env = "NAME" }`` looks.
        folder: What the path in ``{ file = "..." }`` is relative to.
        problems: All that was found.
    """

    environ: Mapping[str, str]
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    _source: str = ""

    def read(self, cls: type[Any], data: Mapping[str, Any]) -> Any:
        """Return a settings object, or `FAILED`."""
        return self._struct(inspect.type_info(cls), data, "")

    def _wrong(self, key: str, text: str, remedy: str, *, warn: bool = False) -> Any:
        severity: Any = "warning" if warn else "error"
        self.problems.append(
            Problem(key=key, text=text, remedy=remedy, severity=severity, source=self._source)
        )
        return FAILED

    def _any(self, kind: inspect.Type, value: Any, at: str) -> Any:
        if isinstance(value, Given):
            self._source = value.source
            try:
                return self._any(kind, _from_text(kind, value.value), at)
            finally:
                self._source = ""
        if isinstance(kind, inspect.Metadata):
            return self._any(kind.type, value, at)
        reader: Callable[[Reading, Any, Any, str], Any] | None = _READERS[type(kind)]
        return reader(self, kind, value, at) if reader else value

    def _struct(self, kind: Any, data: Any, at: str) -> Any:
        if not isinstance(data, Mapping):
            return self._wrong(at, f"found {shown(data)}", f"write a table: [{at}]")
        fields = {each.name: each for each in kind.fields}
        failed, values = False, {}
        for name, value in data.items():
            path = f"{at}.{name}" if at else name
            if name not in fields:
                failed = True
                self._wrong(path, "there is no such setting", did_you_mean(name, fields))
            elif (read := self._any(fields[name].type, value, path)) is FAILED:
                failed = True
            else:
                values[name] = read
        for name, each in fields.items():
            if each.required and name not in data:
                failed = True
                self._wrong(at or name, f"{name} is missing", f"add {name} = ...")
        return FAILED if failed else kind.cls(**values)

    def _dict(self, kind: Any, data: Any, at: str) -> Any:
        if not isinstance(data, Mapping):
            return self._wrong(at, f"found {shown(data)}", "write a table")
        read = {
            name: self._any(kind.value_type, value, f"{at}.{name}") for name, value in data.items()
        }
        return FAILED if FAILED in read.values() else read

    def _list(self, kind: Any, data: Any, at: str) -> Any:
        if not isinstance(data, list | tuple):
            is_table = isinstance(kind.item_type, inspect.StructType)
            how = f"write a list of tables: [[{at}]]" if is_table else 'write a list: ["..."]'
            return self._wrong(at, f"found {shown(data)}", how)
        read = [self._any(kind.item_type, each, f"{at}[{n}]") for n, each in enumerate(data)]
        return FAILED if any(each is FAILED for each in read) else tuple(read)

    def _union(self, kind: Any, value: Any, at: str) -> Any:
        members = [each for each in kind.types if not isinstance(each, _NOTHING)]
        may_be_none = any(isinstance(each, inspect.NoneType) for each in kind.types)
        numeric = isinstance(members[0], inspect.IntType | inspect.FloatType)
        if may_be_none and (value is None or (value == "none" and numeric)):
            return None
        wanted = inspect.VarTupleType if isinstance(value, list) else None
        for member in members:
            if wanted is None or isinstance(member, wanted):
                return self._any(member, value, at)
        return self._any(members[0], value, at)

    def _literal(self, kind: Any, value: Any, at: str) -> Any:
        if value not in kind.values or isinstance(value, bool):
            known = [str(each) for each in kind.values]
            return self._wrong(at, f"found {shown(value)}", did_you_mean(str(value), known))
        return value

    def _bool(self, kind: Any, value: Any, at: str) -> Any:
        if not isinstance(value, bool):
            return self._wrong(at, f"found {shown(value)}", "write true or false")
        return value

    def _number(self, kind: Any, value: Any, at: str) -> Any:
        is_int = isinstance(kind, inspect.IntType)
        kinds: Any = int if is_int else (int, float)
        least = kind.ge if kind.ge is not None else kind.gt
        bound = "" if least is None else f" {'of at least' if kind.gt is None else 'above'} {least}"
        remedy = f"write a {'whole ' if is_int else ''}number{bound}"
        if not isinstance(value, kinds) or isinstance(value, bool) or not isfinite(value):
            return self._wrong(at, f"found {shown(value)}", remedy)
        if (kind.ge is not None and value < kind.ge) or (kind.gt is not None and value <= kind.gt):
            return self._wrong(at, f"found {value}", remedy)
        return value if is_int else float(value)

    def _str(self, kind: Any, value: Any, at: str) -> Any:
        if not isinstance(value, str):
            return self._wrong(at, f"found {shown(value)}", 'write a string, in quotes: "..."')
        return value

    def _secret(self, kind: Any, value: Any, at: str) -> Any:
        how = 'write { env = "NAME" } or { file = "/path" }'
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            if self._source or kind.cls is Value:
                return kind.cls(value, source=self._source or "the file")
            return self._wrong(at, "found a secret written out", how)
        if not isinstance(value, Mapping) or len(value) != 1 or not {"env", "file"} & value.keys():
            return self._wrong(at, f"found {shown(value)}", how)
        ((where, name),) = value.items()
        if not isinstance(name, str) or not name:
            return self._wrong(at, f"found no name behind {where}", how)
        text = self._environment(name, at) if where == "env" else self._file(name, at)
        return FAILED if text is None else kind.cls(text, source=f"{where} {name}")

    def _environment(self, name: str, at: str) -> str | None:
        text = self.environ.get(name, "").strip()
        if not text:
            what = "is empty" if name in self.environ else "is not set"
            self._wrong(at, f"the environment variable {name} {what}", "set it to the secret")
        return text or None

    def _file(self, name: str, at: str) -> str | None:
        path = self.folder / Path(name).expanduser()
        try:
            with path.open("rb") as file:
                seen = stat.S_IMODE(path.stat().st_mode)
                text = file.read(64 * 1024).decode().strip()  # an editor adds a line end
        except (OSError, UnicodeDecodeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "is not text"
            self._wrong(at, f"{path} cannot be read ({why})", "make it readable for the gateway")
            return None
        if not text:
            self._wrong(at, f"{path} is empty", "put the secret into it")
        elif seen & stat.S_IROTH:
            how = f"take that away: chmod o-r {path}"
            self._wrong(at, f"{path} can be read by every user of this machine", how, warn=True)
        return text or None


def _from_text(kind: inspect.Type, value: Any) -> Any:
    """Return what a text from outside the file means to a kind; unchanged if nothing."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    match kind:
        case inspect.Metadata():
            return _from_text(kind.type, value)
        case inspect.UnionType():
            members = [each for each in kind.types if not isinstance(each, _NOTHING)]
            return _from_text(members[0], value)
        case inspect.BoolType() if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        case inspect.IntType() | inspect.FloatType():
            try:
                return int(text) if isinstance(kind, inspect.IntType) else float(text)
            except ValueError:
                return value
        case inspect.VarTupleType():
            return [part.strip() for part in text.split(",") if part.strip()]
        case inspect.LiteralType() if text not in kind.values and text.isdigit():
            return int(text)
        case inspect.BoolType() | inspect.LiteralType():
            return text
        case _:
            return value


_NOTHING = (inspect.NoneType,)
_READERS: dict[type[Any], Any] = {
    inspect.StructType: Reading._struct,
    inspect.DictType: Reading._dict,
    inspect.VarTupleType: Reading._list,
    inspect.UnionType: Reading._union,
    inspect.LiteralType: Reading._literal,
    inspect.BoolType: Reading._bool,
    inspect.IntType: Reading._number,
    inspect.FloatType: Reading._number,
    inspect.StrType: Reading._str,
    inspect.CustomType: Reading._secret,
    inspect.AnyType: None,
}
