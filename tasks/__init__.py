"""Steps: what each reads and writes. One file a step; each answers for its records."""
