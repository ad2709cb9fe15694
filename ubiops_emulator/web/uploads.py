"""Request bodies: JSON, text, or a file that is streamed to disk, checked and kept by its content's digest."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ubiops_emulator.api.call import Upload
from ubiops_emulator.platform.clockwork import Platform
from ubiops_emulator.refusal import Refusal, invalid
from ubiops_emulator.runtime import packages
from ubiops_emulator.web.json_body import parsed, storable

BODY_LIMIT = 64 * 2**20
CHUNK = 2**20
MEBIBYTE = 2**20


async def read(request: Request, platform: Platform) -> tuple[Any, Upload | None]:
    """The body, and the file when it is a multipart one.

    Raises:
        Refusal: 415 for another media type, 413 for too many bytes, 400 for an unreadable body or a harmful archive.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _multipart(request, platform)
    body = await _bytes(request)
    if not body:
        return None, None
    if kind == "text/plain":
        return _text(body), None
    if kind and kind != "application/json":
        raise Refusal(415, f"Unsupported media type {kind!r} in request")
    return parsed(body), None


def _text(body: bytes) -> str:
    try:
        return storable(body.decode())
    except UnicodeDecodeError as error:
        raise invalid("The request body is not UTF-8") from error


async def _bytes(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise Refusal(413, f"The request body is larger than {BODY_LIMIT // MEBIBYTE} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


async def _multipart(request: Request, platform: Platform) -> tuple[Any, Upload | None]:
    limit = platform.switches.upload_mebibytes * MEBIBYTE
    if int(request.headers.get("content-length", "0") or 0) > limit + MEBIBYTE:
        raise Refusal(413, f"The file is larger than {platform.switches.upload_mebibytes} MiB")
    try:
        form = await _limited(request, limit).form(max_files=1, max_fields=10)
    except HTTPException as error:
        # An upload without a file arrives as a body of zero parts.
        if "boundary" in str(error.detail).lower() or not int(request.headers.get("content-length") or 0):
            return None, None
        raise invalid(f"file: {error.detail}") from error
    try:
        fields = {storable(name): storable(value) for name, value in form.items() if isinstance(value, str)}
        files = {name: value for name, value in form.items() if isinstance(value, UploadFile)}
        if set(files) - {"file"}:
            raise invalid(f"{', '.join(sorted(files))}: unknown field")
        upload = await asyncio.to_thread(_store_upload, files["file"], platform) if files else None
    finally:
        await form.close()
    return fields or None, upload


def _limited(request: Request, limit: int) -> Request:
    received = 0

    async def receive() -> Any:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit + MEBIBYTE:
            raise Refusal(413, f"The file is larger than {limit // MEBIBYTE} MiB")
        return message

    return Request(request.scope, receive)


def _store_upload(file: UploadFile, platform: Platform) -> Upload:
    """Store a file under its digest, after a look for harm."""
    folder = platform.store.folder / "files"
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="incoming-", delete=False) as target:
        sha256 = _copy(file.file, target)
    path = Path(target.name)
    try:
        _check(path, file.filename or "file", platform)
        size = path.stat().st_size
        path.replace(folder / sha256)
    except packages.BadPackage as error:
        raise invalid(f"file: {error}") from error
    finally:
        path.unlink(missing_ok=True)
    name = storable(file.filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    return Upload(sha256=sha256, path=folder / sha256, filename=name, size=size)


def _copy(source: BinaryIO, target: Any) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()


def _check(path: Path, name: str, platform: Platform) -> None:
    if path.stat().st_size == 0:
        raise packages.BadPackage("The file is empty")
    if name.endswith(packages.TARS):
        _check_tar(path)
    else:
        packages.check_zip(path, platform.switches.unpacked_mebibytes * MEBIBYTE)


def _check_tar(path: Path) -> None:
    """An image archive is stored, never unpacked: it only has to be one."""
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise packages.BadPackage("The file is not a valid tar archive") from error
    if first is None:
        raise packages.BadPackage("The tar archive is empty")
