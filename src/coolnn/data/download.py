"""The only place where files come over the network: files of a known checksum, resumed where they broke off."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .errors import DataError, MissingDataError

#: Called with (file name, bytes so far, bytes in all or None).
Progress = Callable[[str, int, "int | None"], None]

_CHUNK = 1 << 18
_TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Remote:
    """A file to download: its name, the checksum that its publisher states, and the addresses to try in turn.

    The checksum is an MD5, or the first digits of a SHA-256, which some publishers put into the file's name.
    """

    name: str
    md5: str
    urls: tuple[str, ...]
    sha256: str = ""


class _WrongChecksum(DataError):
    pass


def download(remote: Remote, folder: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Brings a file into a folder unless it is there with the right checksum; returns its path.

    It grows as NAME.part, continues where an earlier try broke off, and gets its name only when its checksum is right.
    Raises DataError, saying what to put where, if no address gives it.
    """
    folder = Path(folder)
    target, part = folder / remote.name, folder / f"{remote.name}.part"
    if target.exists() and not _differs(target, remote):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {folder} ({error.strerror}); set COOLNN_DATA to a folder of yours") from error
    reasons = []
    for url in remote.urls:
        for _ in range(2):  # a second try from scratch if what was continued does not add up
            try:
                fresh = not part.exists()
                _fetch(url, part, remote.name, progress)
                _verify(part, remote)
                os.replace(part, target)
                return target
            except _WrongChecksum as error:
                part.unlink(missing_ok=True)
                reasons.append(f"{url}: {error}")
                if fresh:
                    break
            except OSError as error:
                reasons.append(f"{url}: {error}")
                break
    raise DataError(
        f"{remote.name} could not be downloaded ({'; '.join(reasons)}). If this computer is offline, bring the "
        f"file {remote.urls[0]} from another one and put it into {folder}"
    )


def _fetch(url: str, part: Path, name: str, progress: Progress | None) -> None:
    """Appends what is missing; raises OSError for all that goes wrong on the way."""
    import http.client  # only here, because it takes as long to load as all the rest

    try:
        _transfer(url, part, name, progress)
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error


def _transfer(url: str, part: Path, name: str, progress: Progress | None) -> None:
    import urllib.error
    import urllib.request

    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "coolnn"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to send: the checksum tells whether it is whole
            return
        raise
    with response:
        if response.status != 206:
            have = 0  # the server sends all of it again
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if have else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(name, have, total)
    if total is not None and have < total:
        raise OSError(f"the connection broke off, {total - have} bytes are missing")


def _differs(path: Path, remote: Remote) -> str:
    """How a file's checksum differs from the stated one; empty if it does not."""
    name, wanted = ("SHA-256", remote.sha256) if remote.sha256 else ("MD5", remote.md5)
    digest = hashlib.sha256() if remote.sha256 else hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if found.startswith(wanted):
        return ""
    return f"its {name} is {found}, not {wanted}{'...' if len(wanted) < len(found) else ''}"


def _verify(part: Path, remote: Remote) -> None:
    if wrong := _differs(part, remote):
        raise _WrongChecksum(wrong)


def unpack(archive: Path, folder: str, wanted: Sequence[str], destination: Path) -> Path:
    """Takes the files `wanted` out of the archive's `folder` into `destination`/`folder`, all of them or none.

    Only plain files with those names are written, whatever else the archive holds.
    """
    target = destination / folder
    with tempfile.TemporaryDirectory(dir=destination, prefix=f".{folder}-") as scratch:
        missing = set(wanted)
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    if not member.isfile() or path.parts != (folder, path.name) or path.name not in missing:
                        continue
                    source = tar.extractfile(member)
                    if source is not None:
                        Path(scratch, path.name).write_bytes(source.read())
                        missing.discard(path.name)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{archive} is damaged ({error}); remove it and try again") from error
        if missing:
            raise MissingDataError(f"{archive} does not hold {folder}/{sorted(missing)[0]}; remove it and try again")
        target.mkdir(exist_ok=True)
        for name in wanted:
            os.replace(Path(scratch, name), target / name)
    with contextlib.suppress(OSError):
        archive.unlink()
    return target
