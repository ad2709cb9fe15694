"""A UbiOps project on one machine: rules, runtime and HTTP skin of `whisperctl emulator`.

Contract: knows UbiOps only from its documentation and the official client's models, and imports nothing of whisperctl,
so that a mistake in the product's picture of UbiOps cannot hide in the emulator. One name of a package it does know:
instances share this machine's ports, so each is told one of its own in the variable `WHISPERCTL_PORT`
(`platform/health.py`), which a package may ignore.
"""
