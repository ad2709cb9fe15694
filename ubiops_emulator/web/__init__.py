"""The HTTP skin: routes, tokens, faults, limits, and the proxy in front of instances."""
