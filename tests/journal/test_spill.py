"""The temporary file: private, nameless, gone with its stream, and never an exception."""

from __future__ import annotations

import logging
import os
import resource
import stat
import subprocess
import sys

import pytest

from unbroken.journal import FileSpill, open_spill


@pytest.fixture
def spill(tmp_path) -> FileSpill:
    made = open_spill(str(tmp_path), 1000)
    assert made is not None
    yield made
    made.close()


def test_bytes_are_appended_and_read_back(spill):
    assert spill.append(b"one ")
    assert spill.append(b"two")
    assert spill.size == 7
    assert spill.read(4, 100) == b"two"
    assert spill.read(0, 3) == b"one"
    assert spill.read(99, 3) == b""


def test_it_has_no_name_and_is_private(spill, tmp_path):
    spill.append(b"private")
    assert list(tmp_path.iterdir()) == []
    found = os.fstat(spill._descriptor)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 0
    assert not os.get_inheritable(spill._descriptor)


def test_it_takes_no_more_than_its_limit_and_gives_its_space_back(spill, caplog):
    assert spill.append(b"x" * 1000)
    with caplog.at_level(logging.WARNING, "unbroken"):
        assert not spill.append(b"x")
    assert "max_spill_bytes (1000)" in caplog.text
    assert spill._descriptor is None
    assert not spill.append(b"x")
    assert spill.read(0, 1) == b""


@pytest.mark.parametrize("where", ["missing", "a-file", "not-writable"])
def test_folder_that_cannot_be_used_makes_none_and_says_so(tmp_path, where, caplog):
    if where == "a-file":
        (tmp_path / where).write_text("")
    if where == "not-writable":
        (tmp_path / where).mkdir(mode=0o500)
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
    with caplog.at_level(logging.WARNING, "unbroken"):
        assert open_spill(str(tmp_path / where), 1000) is None
    assert "no temporary file" in caplog.text


def test_limit_of_nothing_makes_none(tmp_path):
    assert open_spill(str(tmp_path), 0) is None


def test_closing_twice_is_harmless(spill):
    spill.close()
    spill.close()


def test_dropping_it_closes_it(tmp_path):
    spill = open_spill(str(tmp_path), 10)
    descriptor = spill._descriptor
    del spill
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_forked_child_reads_and_does_not_write(spill):
    spill.append(b"before")
    child = os.fork()
    if not child:
        ok = spill.read(0, 6) == b"before" and not spill.append(b"child")
        spill.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert spill.append(b" after")
    assert spill.read(0, 99) == b"before after"


FULL = """
import logging, resource, sys
from unbroken.journal import open_spill
logging.basicConfig()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
spill = open_spill(sys.argv[1], 1 << 30)
print(spill.append(b"x" * 4000), spill.append(b"y" * 4000), spill.append(b"z"))
"""


def test_full_disk_is_told_and_no_exception(tmp_path):
    """Stood for by the limit on a file's size: the write fails in its middle, as it does there."""
    assert resource.RLIMIT_FSIZE is not None
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["True", "False", "False"], ran.stderr
    assert "cannot be healed any more" in ran.stderr
