"""Running what is applied, one module a command: status, logs, history, rollback, scaling, adoption, drift, doctor."""
