"""Telling apart the contents of archives (.npz) without reading them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path


def checksums(archive: Path) -> str:
    """SHA-256 over the names, sizes and checksums that the archive keeps of its members; empty where there is none."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [f"{one.filename} {one.file_size} {one.CRC}" for one in opened.infolist()]
    except (OSError, zipfile.BadZipFile):
        return ""
    return hashlib.sha256("\n".join(members).encode()).hexdigest()
