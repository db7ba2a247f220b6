"""The folder of one dispatch through Ansible: ansible-runner's private data folder, and our marks in it.

    env/ inventory/ project/ artifacts/<handle>/   as ansible-runner has them
    job.json    what is to be played          work    what the hosts read on standard input; removed when read
    spool, key  the results (spool.py)  claim   who has made it starts the run, nobody else ever
    lock        held by every process of the run, for as long as one lives
    called_off  hosts on which nothing may be started any more

Everything is of mode 0700 or 0600.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .spool import SpoolReader, SpoolWriter

#: Seconds for which the folder of a dispatch is kept after its end, so that it can be asked for again.
KEEP = 24 * 3600.0
#: Letters of the mark of a folder of runs.
MARK = 8
#: Files with secrets; the run removes each as soon as it is read.
SECRETS = ("work", "env/passwords", "env/extravars", "vault_password")


class JobFolder:
    """The folder of one dispatch; the worker makes it, the run fills it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, path: Path, job: Mapping[str, Any], files: Mapping[str, bytes]) -> JobFolder:
        """Write everything that a run needs.

        Raises:
            OSError: the folder is there already, or cannot be written.
        """
        path.mkdir(mode=0o700)
        folder = cls(path)
        for name in ("env", "inventory", "project"):
            (path / name).mkdir(mode=0o700)
        folder.write("key", secrets.token_bytes(32))
        folder.write("lock", b"")
        for name, content in files.items():
            folder.write(name, content)
        folder.write("job.json", json.dumps(job).encode())
        return folder

    @property
    def handle(self) -> str:
        """The handle of the dispatch, ansible-runner's ident."""
        return self.path.name

    def write(self, name: str, content: bytes) -> None:
        """Make a file that only we can read."""
        file = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as out:
            out.write(content)

    def job(self) -> dict[str, Any]:
        """What is to be played."""
        job: dict[str, Any] = json.loads((self.path / "job.json").read_bytes())
        return job

    def take(self, name: str) -> bytes:
        """The content of a file with secrets, which is then gone; ``b""`` if there is none."""
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""
        self.shred(name)
        return content

    def shred(self, *names: str) -> None:
        """Remove files with secrets; all of them if none is named."""
        for name in names or SECRETS:
            with suppress(FileNotFoundError):
                (self.path / name).unlink()

    def reader(self) -> SpoolReader:
        """Reads the results.

        Raises:
            FileNotFoundError: the folder is gone.
        """
        return SpoolReader(self.path / "spool", self._key())

    def writer(self) -> SpoolWriter:
        """Notes results.

        Raises:
            OSError: the folder is gone or full.
        """
        return SpoolWriter(self.path / "spool", self._key())

    def claim(self) -> bool:
        """Take the only right to start this run, or see to it that it never starts."""
        try:
            os.close(os.open(self.path / "claim", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        return True

    @property
    def claimed(self) -> bool:
        """Whether the run was started, or can never be."""
        return (self.path / "claim").exists()

    def hold(self) -> int:
        """Hold the lock until this process and all that it forks are gone; the number of the file."""
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def call_off(self, hosts: Iterable[str]) -> None:
        """See to it that the run starts nothing more on *hosts*."""
        called_off = self.called_off() | set(hosts)
        file, name = tempfile.mkstemp(dir=self.path)
        with os.fdopen(file, "w") as out:
            json.dump(sorted(called_off), out)
        Path(name).rename(self.path / "called_off")

    def called_off(self) -> set[str]:
        """The hosts on which nothing may be started any more."""
        try:
            return set(json.loads((self.path / "called_off").read_bytes()))
        except FileNotFoundError:
            return set()

    def called_off_whole(self) -> bool:
        """Whether nothing may be started on any host of the run any more."""
        return set(self.job()["hosts"]) <= self.called_off()

    @property
    def runs(self) -> bool:
        """Whether a process of the run lives."""
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def check(self) -> None:
        """Make sure that the folder is whole.

        Raises:
            FileNotFoundError: it was removed.
        """
        (self.path / "lock").stat()
        (self.path / "spool").stat()

    def _key(self) -> bytes:
        return (self.path / "key").read_bytes()


class RunFolder:
    """Where a connection keeps the folders of its dispatches; shared by all workers.

    ``sent/<handle>`` says that a dispatch was made, also when somebody has removed its folder. The mark of
    the folder is in every handle that was made for it: a worker of another machine has another folder, which
    knows nothing of what was sent from here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        """Make the folders, and make sure that they are ours alone.

        Raises:
            OSError: they cannot be made, or are somebody else's.
        """
        for path in (self.path, self.path / "jobs", self.path / "sent"):
            path.mkdir(mode=0o700, parents=path == self.path, exist_ok=True)
            status = path.lstat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o077 or path.is_symlink():
                raise PermissionError(f"{path} must be a folder of mode 0700 that belongs to our user")
        above = self.path.parent.stat()
        if above.st_uid not in (0, os.geteuid()) or (above.st_mode & 0o022 and not above.st_mode & 0o1000):
            raise PermissionError(f"{self.path.parent} must belong to us, and nobody else may write there")
        with suppress(FileExistsError):
            (self.path / "sent" / ".since").touch(mode=0o600, exist_ok=False)

    def mark(self) -> str:
        """What every handle that was made for this folder has from its ninth letter on.

        Raises:
            OSError: the folder cannot be read.
        """
        since = (self.path / "sent" / ".since").stat()
        return hashlib.sha256(f"{since.st_ino} {since.st_mtime_ns}".encode()).hexdigest()[:MARK]

    def make(self, handle: str, job: Mapping[str, Any], files: Mapping[str, bytes]) -> JobFolder:
        """The folder of a new dispatch.

        Raises:
            OSError: it cannot be written.
        """
        self.open()
        (self.path / "sent" / handle).touch(mode=0o600)
        try:
            return JobFolder.make(self.path / "jobs" / handle, job, files)
        except OSError:
            self.remove(handle)
            raise

    def find(self, handle: str) -> JobFolder | None:
        """The folder of a dispatch, if it is there."""
        path = self.path / "jobs" / handle
        return JobFolder(path) if path.is_dir() else None

    def was_sent(self, handle: str) -> bool:
        """Whether there was a dispatch of that handle, as far as anybody knows."""
        return (self.path / "sent" / handle).exists()

    def remove(self, handle: str) -> None:
        """Forget a dispatch that never was."""
        shutil.rmtree(self.path / "jobs" / handle, ignore_errors=True)
        (self.path / "sent" / handle).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what ended long ago, and the secrets of runs that were killed."""
        for folder in self._folders():
            with suppress(OSError):
                age = time.time() - folder.path.stat().st_mtime
                if age > 60 and not folder.runs:
                    folder.shred()
                    if age > KEEP:
                        self.remove(folder.handle)

    def _folders(self) -> Iterator[JobFolder]:
        with suppress(FileNotFoundError):
            for path in (self.path / "jobs").iterdir():
                yield JobFolder(path)


def default_run_folder(connection: str) -> Path:
    """Where dispatches are kept when nothing is set: below OMSERVER_HOME, else in a folder of our user."""
    home = os.environ.get("OMSERVER_HOME")
    if home:
        return Path(home).resolve() / "run" / "ansible" / connection
    return Path(tempfile.gettempdir()) / f"omserver-ansible-{os.geteuid()}" / connection
