"""The running service: slow clients, signals, killed workers, metrics, logs. Real processes, called over HTTP."""
