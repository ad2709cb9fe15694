"""The program's entry, `whisperctl` and `python -m whisperctl` alike."""

from __future__ import annotations

import os
import sys

NAMESAKE = """\
note: {name} is installed beside whisperctl-ubiops; both bring a command `whisperctl` and files of the same names.
  Mend it with: pip uninstall whisperctl && pip install --force-reinstall --no-deps whisperctl-ubiops
"""


def run() -> None:
    """Run the program; Ctrl-C while it is still being loaded ends it as Ctrl-C later does."""
    try:
        for name in namesakes(os.path.dirname(os.path.dirname(__file__))):  # noqa: PTH120 - pathlib is dear
            sys.stderr.write(NAMESAKE.format(name=name))
        from whisperctl.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)  # as in errors.py, which may not have been loaded yet


def namesakes(site_packages: str) -> list[str]:
    """Name and version of each distribution `whisperctl` there: PyPI's Graphite tool, or this program before 0.2."""
    names = os.listdir(site_packages)  # noqa: PTH208
    metadata = [name for name in names if name.startswith("whisperctl-") and name.endswith("-info")]
    return [" ".join(name.rpartition(".")[0].split("-")[:2]) for name in metadata]


if __name__ == "__main__":
    run()
