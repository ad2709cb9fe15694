"""Be one instance: create the rendered package's Deployment, as UbiOps does, and stay until a signal comes."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """`instance.py FOLDER`: start the package in FOLDER."""
    folder = Path(sys.argv[1]).resolve()
    spec = importlib.util.spec_from_file_location("deployment", folder / "deployment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    begin = time.monotonic()
    deployment = module.Deployment(str(folder), {})
    report = json.loads(deployment.request(""))
    print("READY", round(time.monotonic() - begin, 1), json.dumps(report), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
