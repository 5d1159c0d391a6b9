"""Which model answers, and how; no Prefect."""
