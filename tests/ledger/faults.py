"""A disk that is small, and a system call that fails: what RELIABILITY.md section 3 asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a disk of so many kB, a third of it taken by a file called "filler" that can be deleted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        (folder / "filler").write_bytes(b"x" * (kilobytes * 1024 // 3))
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def traced(program: str, log: Path, *options: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a Python program under strace."""
    if shutil.which("strace") is None:
        if os.environ.get("CDS_CI"):
            pytest.fail("strace is not installed")
        pytest.skip("strace is not installed")
    command = ["strace", "-f", "-o", str(log), *options, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
