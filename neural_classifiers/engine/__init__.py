"""Records, caches and repeats any step; knows no comment and no digit."""
