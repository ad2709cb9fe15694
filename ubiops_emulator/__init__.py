"""A UbiOps project on one machine: rules, runtime and HTTP skin of `whisperctl emulator`.

Contract: knows UbiOps only from its documentation and the official client's models, and imports nothing of the
rest of whisperctl, so that a mistake in the product's picture of UbiOps cannot hide in the emulator.
"""
