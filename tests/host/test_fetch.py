# SPDX-License-Identifier: BSD-2-Clause
"""Fetching packages with clients played by the tests: hashes are checked first, nothing is half-written."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spatten import fetch
from spatten.fetch import (
    ArchiveError,
    DownloadError,
    FetchError,
    HashMismatchError,
    ToolMissingError,
    cache_dir,
    fetch_npm,
    fetch_sdist,
    unpack,
)


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tgz of files, or of members as they are."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


GOOD = archive({"package/README.md": b"hello", "package/data/a.txt": b"a"})
LONG = archive({"package/words.txt": " ".join(map(str, range(20_000))).encode()})
SHA = hashlib.sha256(GOOD).hexdigest()


class Clients:
    """Stands in for ``subprocess.run``: writes these archives where the client is told to."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.archives: dict[str, bytes] = {"made-up-1.0.tgz": GOOD}
        self.status, self.stderr = 0, ""
        self.required = ""
        self.has_pip = True

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[-1] == "--version":
            return subprocess.CompletedProcess(command, 0 if self.has_pip else 1)
        self.commands.append(command)
        folder = Path(command[command.index("-d" if "pip" in command else "--pack-destination") + 1])
        if "-r" in command:
            self.required = Path(command[command.index("-r") + 1]).read_text()
        for name, content in self.archives.items():
            (folder / name).write_bytes(content)
        return subprocess.CompletedProcess(command, self.status, "", self.stderr)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPATTEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def clients(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients()
    monkeypatch.setattr(fetch.subprocess, "run", made.run)
    monkeypatch.setattr(fetch.shutil, "which", lambda name: f"/usr/bin/{name}")
    return made


def left_in(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


FETCHERS: list[Callable[[str, str, str], Path]] = [fetch_npm, fetch_sdist]


@pytest.mark.parametrize("fetcher", FETCHERS)
def test_package_is_unpacked_without_its_top_folder(fetcher: Callable[..., Path], clients: Clients) -> None:
    folder = fetcher("made-up", "1.0", SHA)
    assert (folder / "README.md").read_bytes() == b"hello"
    assert (folder / "data" / "a.txt").read_bytes() == b"a"


def test_archive_of_several_entries_is_given_as_it_is(clients: Clients) -> None:
    flat = archive({"a.txt": b"a", "b.txt": b"b"})
    clients.archives = {"flat.tgz": flat}
    folder = fetch_npm("flat", "1.0", hashlib.sha256(flat).hexdigest())
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("fetcher", FETCHERS)
def test_second_call_starts_no_client(
    fetcher: Callable[..., Path], clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fetcher("made-up", "1.0", SHA)
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    clients.has_pip = False
    assert fetcher("made-up", "1.0", SHA) == first
    assert len(clients.commands) == 1


def test_npm_is_asked_for_exactly_one_archive(clients: Clients) -> None:
    fetch_npm("@scope/made-up", "1.0", SHA)
    ((*command, folder, package),) = clients.commands
    assert command == ["npm", "pack", "--silent", "--pack-destination"]
    assert package == "@scope/made-up@1.0"
    assert not Path(folder).exists()


def test_pip_is_told_the_hash_and_takes_no_wheel_and_no_dependency(clients: Clients) -> None:
    fetch_sdist("made-up", "1.0", SHA)
    (command,) = clients.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes"} <= set(command)
    assert command[command.index("--no-binary") + 1] == ":all:"
    assert clients.required == f"made-up==1.0 --hash=sha256:{SHA}\n"


def test_folder_in_the_cache_is_named_by_package_version_and_hash(cache: Path, clients: Clients) -> None:
    fetch_npm("@scope/made-up", "1.0", SHA)
    assert [path.name for path in (cache / "packages").iterdir()] == [f"scope-made-up-1.0-{SHA}"]


def test_other_hash_is_another_folder(cache: Path, clients: Clients) -> None:
    first = fetch_npm("made-up", "1.0", SHA)
    other = archive({"package/README.md": b"changed"})
    clients.archives = {"made-up-1.0.tgz": other}
    second = fetch_npm("made-up", "1.0", hashlib.sha256(other).hexdigest())
    assert (first / "README.md").read_bytes() == b"hello"
    assert (second / "README.md").read_bytes() == b"changed"


# ------------------------------------------------------------------------------- nothing is left half-written


def spoil_hash(clients: Clients) -> None:
    clients.archives = {"made-up-1.0.tgz": GOOD + b"\0"}


def spoil_status(clients: Clients) -> None:
    clients.archives, clients.status = {}, 1
    clients.stderr = "npm error network getaddrinfo ENOTFOUND registry.example.org"


def spoil_nothing(clients: Clients) -> None:
    clients.archives = {}


def spoil_two(clients: Clients) -> None:
    clients.archives = {"a.tgz": GOOD, "b.tgz": GOOD}


def spoil_offer(clients: Clients) -> None:
    clients.archives, clients.status = {}, 1
    clients.stderr = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"


SPOILT: dict[str, tuple[Callable[[Clients], None], type[FetchError], list[str]]] = {
    "another archive": (
        spoil_hash,
        HashMismatchError,
        [
            f"made-up-1.0.tgz has sha256 {hashlib.sha256(GOOD + bytes(1)).hexdigest()}, expected {SHA}",
            "nothing was unpacked, check your mirror or proxy",
        ],
    ),
    "no network": (
        spoil_status,
        DownloadError,
        ["failed with exit status 1; check the network and the client's settings", "ENOTFOUND"],
    ),
    "no archive": (spoil_nothing, DownloadError, ["expected one archive of made-up 1.0, got []"]),
    "two archives": (
        spoil_two,
        DownloadError,
        ["expected one archive of made-up 1.0, got ['a.tgz', 'b.tgz']"],
    ),
    "refused by the client": (
        spoil_offer,
        HashMismatchError,
        ["was offered another archive than the pinned one", "DO NOT MATCH"],
    ),
}


@pytest.mark.parametrize("fetcher", FETCHERS)
@pytest.mark.parametrize("name", SPOILT)
def test_failed_fetch_says_why_and_leaves_the_cache_empty(
    name: str, fetcher: Callable[..., Path], cache: Path, clients: Clients
) -> None:
    spoil, kind, said = SPOILT[name]
    spoil(clients)
    with pytest.raises(kind) as caught:
        fetcher("made-up", "1.0", SHA)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert list((cache / "packages").iterdir()) == []


def test_fetch_works_after_a_failed_one(clients: Clients) -> None:
    spoil_hash(clients)
    with pytest.raises(HashMismatchError):
        fetch_npm("made-up", "1.0", SHA)
    clients.archives = {"made-up-1.0.tgz": GOOD}
    assert (fetch_npm("made-up", "1.0", SHA) / "README.md").is_file()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_fetch_leaves_nothing(
    error: BaseException, cache: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: tarfile.TarFile, path: Path, **_: object) -> None:
        Path(path).mkdir()
        Path(path, "half").write_text("written")
        raise error

    monkeypatch.setattr(tarfile.TarFile, "extractall", half)
    with pytest.raises((KeyboardInterrupt, OSError)):
        fetch_npm("made-up", "1.0", SHA)
    assert left_in(cache) == []


def test_silence_of_a_client_ends_with_its_deadline(
    cache: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(fetch.subprocess, "run", silent)
    with pytest.raises(DownloadError, match=r"no answer within 900 s from `npm pack .*`; check the network"):
        fetch_npm("made-up", "1.0", SHA)
    assert list((cache / "packages").iterdir()) == []


def test_losing_the_race_to_another_process_is_as_good(
    cache: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        (target / "package").mkdir(parents=True)
        (target / "package" / "README.md").write_bytes(b"theirs")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert (fetch_npm("made-up", "1.0", SHA) / "README.md").read_bytes() == b"theirs"
    assert [path.name for path in (cache / "packages").iterdir()] == [f"made-up-1.0-{SHA}"]


def test_missing_client_says_what_to_install(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    with pytest.raises(ToolMissingError) as caught:
        fetch_npm("made-up", "1.0", SHA)
    assert str(caught.value) == (
        "npm is needed to fetch made-up 1.0 and is not on the PATH; install Node.js, which brings npm"
    )
    clients.has_pip = False
    with pytest.raises(ToolMissingError) as caught:
        fetch_sdist("made-up", "1.0", SHA)
    assert str(caught.value) == (
        f"pip is needed to fetch made-up 1.0 and {sys.executable} has none; run `python -m ensurepip`"
    )
    assert clients.commands == []


@pytest.mark.parametrize(
    "sha256", ["", "abc", SHA.upper(), SHA + "0", "g" * 64], ids=["empty", "short", "upper", "long", "no hex"]
)
def test_hash_that_is_none_is_refused_before_any_client_starts(sha256: str, clients: Clients) -> None:
    said = f"sha256 of made-up 1.0 must be 64 lower-case hexadecimal digits, not {sha256!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        fetch_npm("made-up", "1.0", sha256)
    assert clients.commands == []


# ------------------------------------------------------------------------------- archives


def member(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "members",
    [
        {"../evil.txt": b"x"},
        {"package/../../evil.txt": b"x"},
        {"link": member("package/link", tarfile.SYMTYPE, "/etc/passwd")},
        {"link": member("package/link", tarfile.SYMTYPE, "../../evil.txt")},
        {"device": member("package/device", tarfile.CHRTYPE)},
        {"pipe": member("package/pipe", tarfile.FIFOTYPE)},
    ],
    ids=lambda members: next(iter(members)),
)
def test_member_that_leaves_its_folder_or_is_no_file_is_refused(
    members: dict[str, bytes | tarfile.TarInfo], tmp_path: Path
) -> None:
    file = tmp_path / "bad.tgz"
    file.write_bytes(archive(members))
    with pytest.raises(ArchiveError, match=r"bad.tgz was refused: .*; do not unpack it by hand"):
        unpack(file, tmp_path / "into" / "deep")
    assert not (tmp_path / "evil.txt").exists()
    assert not (tmp_path / "into" / "evil.txt").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive at all",
        GOOD[: len(GOOD) // 2],
        GOOD[:40] + b"\xff" * 20 + GOOD[60:],
        LONG[:-9_000] + b"\xff" * 20 + LONG[-8_980:],
    ],
    ids=["empty", "text", "cut", "changed", "changed far behind"],
)
def test_damaged_archive_is_one_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.tgz"
    file.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"(?s)bad.tgz is no readable tar archive: .*; fetch it again"):
        unpack(file, tmp_path / "into")


def test_bad_archive_with_the_right_hash_never_gets_into_the_cache(cache: Path, clients: Clients) -> None:
    evil = archive({"package/a.txt": b"a", "../evil.txt": b"x"})
    clients.archives = {"evil.tgz": evil}
    with pytest.raises(ArchiveError):
        fetch_npm("evil", "1.0", hashlib.sha256(evil).hexdigest())
    assert left_in(cache) == []


# ------------------------------------------------------------------------------- where the cache is


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SPATTEN_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"SPATTEN_CACHE": "~/here"}, "/home/someone/here"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/spatten"),
        ({"SPATTEN_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/someone/.cache/spatten"),
        ({}, "/home/someone/.cache/spatten"),
    ],
    ids=str,
)
def test_cache_folder_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for name in ("SPATTEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)
