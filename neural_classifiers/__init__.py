"""The core: how it is done. Values in, values out; no Prefect, no paths, no logging."""
