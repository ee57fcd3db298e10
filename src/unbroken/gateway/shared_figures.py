"""Figures of several workers, shared through files.

Each worker writes its own file about once a second, by an atomic rename; any worker reads all
of them and adds them up. So page and metrics say the same whichever worker is asked, without a
process that all depend on. What a worker that is gone had counted stays in the sums, so that
counters never fall; streams that ran in a worker that died count as failed, by a fault
``writer-lost``. When files of the gone pile up, one worker folds them into ``ended.json``, under a
lock that readers share.

The folder is the owner's alone (0700): names of models and teams are nobody else's business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from unbroken.telemetry.health import FaultRow, Figures, HealthMonitor, StreamRow
from unbroken.telemetry.health.figures import LOST

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where there is one worker
    fcntl = None  # type: ignore[assignment]

__all__ = ["AllFigures", "SharedFigures"]

_log = logging.getLogger("unbroken.gateway")
_ENDED = "ended.json"
_LOCK = "lock"
_SILENT_S = 30.0
"""A worker that wrote nothing for so long is gone, or hangs; its streams are not shown."""
_FOLD_AT = 8
_MOST_FAULTS = 200
_MOST_ROWS = 1000
_READ_EVERY_S = 0.5


class _Written(msgspec.Struct, kw_only=True):
    """What a worker's file holds."""

    version: int = 1
    worker: str = ""
    pid: int = 0
    at: float = 0.0
    closed: bool = False
    figures: Figures = msgspec.field(default_factory=Figures)
    active: list[StreamRow] = []
    faults: list[FaultRow] = []


class AllFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What all workers say together.

    Attributes:
        figures: The sum, with what workers that are gone had counted.
        active: Streams that run now; of one worker at most 1000.
        faults: The latest faults, the newest first.
        workers: Workers that run.
    """

    figures: Figures
    active: list[StreamRow]
    faults: list[FaultRow]
    workers: int


class SharedFigures:
    """One worker's part in the exchange. Not for several threads at once.

    Args:
        folder: The run directory, one for a gateway; made with 0700 if it is not there.
        monitor: This worker's.
        worker: This worker's name, unique in the folder; None makes one.
        wall_time: Seconds since the epoch.

    Raises:
        PermissionError: If the folder is somebody else's, or others may write to it.
    """

    def __init__(
        self,
        folder: Path,
        monitor: HealthMonitor,
        *,
        worker: str | None = None,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._monitor = monitor
        self._worker = worker or f"{os.getpid()}-{secrets.token_hex(4)}"
        self._wall_time = wall_time
        self._path = folder / f"worker-{self._worker}.json"
        self._read: tuple[float, AllFigures] | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _must_be_ours(folder)

    def write(self, *, closed: bool = False) -> None:
        """Write what this worker has; call it about once a second.

        Args:
            closed: This worker ends: its counters stay, its streams do not.
        """
        figures = self._monitor.figures()
        written = _Written(
            worker=self._worker,
            pid=os.getpid(),
            at=self._wall_time(),
            closed=closed,
            figures=figures.without_active() if closed else figures,
            active=[] if closed else self._monitor.active()[:_MOST_ROWS],
            faults=self._monitor.latest_faults(),
        )
        _put(self._path, msgspec.json.encode(written))
        self._read = None

    def close(self) -> None:
        """Write for the last time."""
        with contextlib.suppress(OSError):
            self.write(closed=True)

    def all(self) -> AllFigures:
        """Return what all workers say, this one as it is now.

        What others wrote is read at most twice a second.
        """
        now = self._wall_time()
        if self._read is None or not 0 <= now - self._read[0] < _READ_EVERY_S:
            self._read = now, self._all(now)
        return self._read[1]

    def figures(self) -> Figures:
        """Return the sum of all workers' figures."""
        return self.all().figures

    def active(self) -> list[StreamRow]:
        """Return the streams of all workers that run now."""
        return self.all().active

    def stream(self, stream_id: str) -> StreamRow | None:
        """Return a stream's row: of this worker also one that ended, of others what runs."""
        mine = self._monitor.stream(stream_id)
        if mine is not None:
            return mine
        return next((row for row in self.active() if row.id == stream_id), None)

    def latest_faults(self) -> list[FaultRow]:
        """Return the latest faults of all workers."""
        return self.all().faults

    def workers(self) -> int:
        """Return how many workers run."""
        return self.all().workers

    def _all(self, now: float) -> AllFigures:
        with self._locked(exclusive=False):
            ended = self._ended()
            others = [found for path in self._files() if (found := _get(path)) is not None]
        gone = [each for each in others if not self._runs(each, now)]
        running = [each for each in others if self._runs(each, now)]
        if len(gone) >= _FOLD_AT:
            self._fold(now)
        faults = [*self._monitor.latest_faults(), *ended.faults]
        faults += [fault for each in others for fault in _faults_of(each)]
        faults.sort(key=lambda fault: -fault.at)
        return AllFigures(
            figures=Figures.merge(
                [
                    ended.figures,
                    *(_left_by(each) for each in gone),
                    *(each.figures for each in running),
                    self._monitor.figures(),
                ]
            ),
            active=[
                *self._monitor.active()[:_MOST_ROWS],
                *(row for each in running for row in each.active),
            ],
            faults=faults[:_MOST_FAULTS],
            workers=1 + len(running),
        )

    def _files(self) -> list[Path]:
        """Return the other workers' files."""
        return sorted(path for path in self._folder.glob("worker-*.json") if path != self._path)

    def _runs(self, written: _Written, now: float) -> bool:
        return not written.closed and now - written.at < _SILENT_S and _is_alive(written.pid)

    def _ended(self) -> _Written:
        return _get(self._folder / _ENDED) or _Written()

    def _fold(self, now: float) -> None:
        """Put the files of workers that are gone into one. A hanging worker's stays."""
        with self._locked(exclusive=True) as locked:
            if not locked:
                return
            ended = self._ended()
            done: list[Path] = []
            for path in self._files():
                found = _get(path)
                if found is None or not (found.closed or not _is_alive(found.pid)):
                    continue
                ended.figures = Figures.merge([ended.figures, _left_by(found)])
                ended.faults = sorted(
                    [*ended.faults, *_faults_of(found)], key=lambda each: -each.at
                )
                done.append(path)
            ended.faults = ended.faults[:_MOST_FAULTS]
            ended.at, ended.closed = now, True
            _put(self._folder / _ENDED, msgspec.json.encode(ended))
            for path in done:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[bool]:
        """Keep files from being folded while they are read. Yields whether it is held."""
        if fcntl is None:  # pragma: no cover
            yield False
            return
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield True
        finally:
            os.close(handle)  # which unlocks it


def _must_be_ours(folder: Path) -> None:
    if os.name == "nt":  # pragma: no cover - no such bits
        return
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        msg = f"{folder} must be a folder of this user's that nobody else may write to (chmod 700)"
        raise PermissionError(msg)
    if info.st_mode & 0o077:
        folder.chmod(0o700)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def _died(written: _Written) -> bool:
    """Whether a worker is gone without a word. One that hangs may yet end what it runs."""
    return not written.closed and not _is_alive(written.pid)


def _left_by(written: _Written) -> Figures:
    """Return what stays of the figures of a worker that is gone, or hangs."""
    return written.figures.without_active(lost=_died(written))


def _faults_of(written: _Written) -> list[FaultRow]:
    """Return a worker's faults, and that its streams were lost where it died."""
    if not _died(written):
        return written.faults
    lost = [
        FaultRow(
            stream=row.id,
            at=written.at,
            kind=LOST,
            detail="the process that served this stream died",
            attempt=row.attempts,
            provider=row.provider,
            model=row.model,
            route=row.route,
        )
        for row in written.active
    ]
    return [*lost, *written.faults]


def _put(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _get(path: Path) -> _Written | None:
    """Return what a file holds; None if it is gone, or another version's."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Written)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("cannot read %s (%s): it is left out", path.name, type(error).__name__)
        return None
