"""UbiOps' control plane through its official client: JSON in and out, deadlines, retries, uploads. Decides nothing."""
