"""What a call of the UbiOps API means: fields, shapes, refusals, one module of rules a resource. No HTTP in here."""
