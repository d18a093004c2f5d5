"""A PostgreSQL server of our own, for as long as a test takes: on a port of this machine, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PLACES = (
    "",
    "/usr/local/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/17/bin",
)
# initdb refuses to run as root; one of these users runs the server then.
USERS = ("postgres", "nobody")


def binary(name: str) -> str | None:
    """Return where a program of PostgreSQL is; Debian does not put them on the path."""
    return next((found for place in PLACES if (found := shutil.which(name, path=place or None))), None)


def lacking() -> str:
    """Say in words why no server can be started here; "" where one can."""
    if binary("initdb") is None or binary("postgres") is None:
        return "PostgreSQL is not installed: apt-get install postgresql-15"
    if os.getuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return ""


def _user() -> pwd.struct_passwd | None:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((known[name] for name in USERS if name in known), None)


class Cluster:
    """A server with an empty database; everything durable, as a hospital would have it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cds-pg-"))
        self._as: dict[str, Any] = {}
        user = _user() if os.getuid() == 0 else None
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._run(binary("initdb"), "--auth=trust", "--username=cds", "--encoding=UTF8", "--no-sync", "--no-locale")

    @property
    def url(self) -> str:
        """The address of its database."""
        return f"postgresql://cds@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str | None, *words: str) -> None:
        command = [str(program), *words, "-D", str(self.folder / "data")]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, env=environment, **self._as)

    def start(self, *settings: str) -> None:
        """Start the server, and wait until it answers."""
        said = ["fsync=on", f"port={self.port}", "listen_addresses=127.0.0.1", "max_connections=120", *settings]
        options = [word for one in said for word in ("-c", one)]
        sockets = ["-k", str(self.folder)]
        command = [str(binary("postgres")), "-D", str(self.folder / "data"), *sockets, *options]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            **self._as,
        )
        log.close()
        self._wait()

    def _wait(self) -> None:
        import psycopg

        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                process = self._process
                if time.monotonic() > until or process is None or process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()[-2_000:]) from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill the server and all its processes at once, as a power cut of the machine's memory would."""
        process = self._process
        assert process is not None
        children = self._children(process.pid)
        for pid in (process.pid, *children):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            time.sleep(0.01)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let the server and all its processes stand still, as where its disk or host does; then they go on."""
        process = self._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)  # first: it makes no more processes
        family = (*self._children(process.pid), process.pid)
        self._send(signal.SIGSTOP, family)
        try:
            yield
        finally:
            self._send(signal.SIGCONT, family)

    @staticmethod
    def _send(what: signal.Signals, pids: Sequence[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, what)

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def remove(self) -> None:
        """Stop the server at once, without writing anything more, and delete what it wrote."""
        if self._process is not None and self._process.poll() is None:
            self._send(signal.SIGCONT, self._children(self._process.pid))  # where a test failed while it stood still
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)
