"""Steps: what each reads and writes, by subject, and what several of them share."""
