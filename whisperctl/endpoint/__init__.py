"""The data plane: everything that talks to a deployed model over its service endpoint.

`client` is the connection and `transcription` one request; `probe` and `smoke` judge; `recordings`, `audio`, `cut`,
`stitch` and `formats` turn files into requests and answers into files, which `patience`, `crew` and `batch` do for many
at a time; `progress` and `report` show it; `snippets` and `proxy` are for other clients. Nothing here knows UbiOps'
control plane: how a deployment is woken is handed in.
"""
