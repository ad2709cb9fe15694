"""The man page is installed where man(1) looks for it."""

from __future__ import annotations

import zipfile

from tests.harness.release import Built
from whisperctl import __version__


def test_the_wheel_installs_the_man_page(built: Built) -> None:
    place = f"whisperctl_ubiops-{__version__}.data/data/share/man/man1/whisperctl.1"
    assert place in zipfile.ZipFile(built.wheel).namelist()
