"""`watch`: looks at stacks round after round and tells what is wrong once, when it begins and when it is over.

`observation` looks, `conditions` decides what is wrong and what of it is new (pure), `heal` puts back what may be put
back, `probing` transcribes the known recordings, `metrics` shows it to Prometheus, `rounds` is the loop.
"""
