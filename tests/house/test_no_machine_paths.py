"""What is published names no machine that it was made on, and no registry that it was made with."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.house.source import ROOT

# Written in pieces, so that this file passes its own test.
FOLDERS = ("work", "farm", "root", "home", "Users", "tmp/" + "research", "opt/" + "pypi", "opt/" + "wheels")
HOSTS = ("files.python" + "hosted.org", "py" + "pi.org", "registry.npm" + "js.org", "deb.debian" + ".org")
PLACE = re.compile(rf"(?<![\w.~-])/(?:{'|'.join(FOLDERS)})/|{'|'.join(map(re.escape, HOSTS))}")


def published() -> list[str]:
    """List the files that git holds or would take."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{name}:{number} {line.strip()[:80]}"
        for name in published()
        for number, line in enumerate((ROOT / name).read_text("utf-8", errors="replace").splitlines(), 1)
        if PLACE.search(line)
    ]

    assert [] == found


@pytest.mark.parametrize("planted", ["cd /" + "work/main", "see (/" + "root/notes)", "https://py" + "pi.org/simple"])
def test_a_planted_place_is_found(planted: str) -> None:
    assert PLACE.search(planted)


@pytest.mark.parametrize("harmless", ["a network/work/flow", "../root/x", "https://example.org/homework/"])
def test_other_paths_are_left_alone(harmless: str) -> None:
    assert not PLACE.search(harmless)
