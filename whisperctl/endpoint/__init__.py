"""The data plane: everything that talks to a deployed model over its service endpoint.

`client` is the connection and `transcription` one request; `readiness` is the only way to wake and to wait; `probe`,
`smoke` and `gate` judge, by `wer`; `snippets` and `proxy` are for other clients. Many recordings are the business of
`whisperctl.transcribe`. Nothing here knows UbiOps' control plane: how a deployment is woken is handed in.
"""

import sys

# httpx imports a command line of its own where click is installed, and with it rich and pygments: 0.1 s of every
# command (measured). It goes without where that module cannot be imported.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
