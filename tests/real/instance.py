"""A script that does what UbiOps does with a package: instantiate `Deployment`, then answer requests.

Takes the package's folder; prints `request()`'s answer for each line on standard input.
"""

from __future__ import annotations

import sys
from importlib import import_module

sys.path.insert(0, sys.argv[1])
deployment = import_module("deployment").Deployment(sys.argv[1], {})
print("ready", flush=True)
for _ in sys.stdin:
    print(deployment.request({}), flush=True)
