"""A script that does what UbiOps does with a package: instantiate `Deployment`, then answer requests.

Takes the package's folder; prints `request()`'s answer for each line on standard input.
"""

from __future__ import annotations

import itertools
import sys
from importlib import import_module

sys.path.insert(0, sys.argv[1])
deployment = import_module("deployment").Deployment(sys.argv[1], {})
for answer in itertools.chain(["ready"], (deployment.request({}) for _ in sys.stdin)):
    sys.stdout.write(f"{answer}\n")  # in one piece, unlike print(): the server's lines go there, too
    sys.stdout.flush()
