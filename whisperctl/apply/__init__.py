"""Performs plans: operations in the order of their needs, waits, proof, lease. Decides nothing that a plan decides."""
