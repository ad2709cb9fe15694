"""Uploaded archives: refused when they could do harm, unpacked where an instance wants them.

Contract: only the file system; raises `BadPackage` with a text fit for an error message.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

MOST_ENTRIES = 100_000
MOST_RATIO = 500
RATIO_MATTERS_FROM = 64 * 2**20
TARS = (".tar.gz", ".tgz", ".tar")
DEPENDENCY_FILES = ("requirements.txt", "ubiops.yaml", "environment.yaml")


class BadPackage(Exception):
    """The archive is refused; the text says why."""


def check_zip(path: Path, unpacked_limit: int) -> None:
    """Refuse what is no zip, and zips with paths, links, sizes or counts that no package needs."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries, unpacked_limit)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise BadPackage("The file is not a valid zip archive") from error


def _check_entries(entries: list[zipfile.ZipInfo], unpacked_limit: int) -> None:
    if len(entries) > MOST_ENTRIES:
        raise BadPackage(f"The archive has more than {MOST_ENTRIES} entries")
    total = sum(entry.file_size for entry in entries)
    if total > unpacked_limit:
        raise BadPackage(f"The archive unpacks to more than {unpacked_limit // 2**20} MiB")
    packed = max(1, sum(entry.compress_size for entry in entries))
    if total > RATIO_MATTERS_FROM and total / packed > MOST_RATIO:
        raise BadPackage("The archive is compressed beyond reason")
    seen: set[str] = set()
    for entry in entries:
        _check_entry(entry)
        if entry.filename in seen:
            raise BadPackage(f"The archive holds {entry.filename!r} twice")
        seen.add(entry.filename)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ".." in parts or (parts and ":" in parts[0]):
        raise BadPackage(f"The archive holds a path outside itself: {name!r}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise BadPackage(f"The archive holds a link or special file: {name!r}")
    if entry.flag_bits & 0x1:
        raise BadPackage(f"The archive holds an encrypted file: {name!r}")


def top_folder(names: list[str], expected_name: str) -> str:
    """The folder of the archive that is the package: `""` for files at its root.

    One top folder may have any name; of several, the one called `expected_name` counts.

    Raises:
        BadPackage: several folders, none of them called so.
    """
    files = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
    tops = {name.split("/", 1)[0] for name in files if "/" in name}
    if any("/" not in name for name in files):
        return ""
    if expected_name in tops:
        return f"{expected_name}/"
    if len(tops) == 1:
        return f"{tops.pop()}/"
    raise BadPackage(f"The archive must hold one folder, or one called {expected_name}")


def emptied(folder: Path) -> None:
    """A folder that is there and holds nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def unpack(path: Path, target: Path, expected_name: str) -> Path:
    """Unpack a checked archive; returns the package's folder."""
    with zipfile.ZipFile(path) as archive:
        folder = top_folder(archive.namelist(), expected_name)
        archive.extractall(target)
    return target / folder if folder else target


def dependency_files(path: Path, expected_name: str) -> dict[str, str]:
    """The texts of requirements.txt, ubiops.yaml and environment.yaml in an archive."""
    texts = {}
    with zipfile.ZipFile(path) as archive:
        folder = top_folder(archive.namelist(), expected_name)
        for name in DEPENDENCY_FILES:
            if f"{folder}{name}" in archive.namelist():
                texts[name] = archive.read(f"{folder}{name}").decode(errors="replace")
    return texts


def source(path: Path, name: str) -> str | None:
    """The text of a file of a package, or None."""
    with zipfile.ZipFile(path) as archive:
        full = f"{top_folder(archive.namelist(), 'deployment_package')}{name}"
        return archive.read(full).decode(errors="replace") if full in archive.namelist() else None
