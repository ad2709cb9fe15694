"""Desired and live objects of a stack in one shape, and what labels remember of them."""
