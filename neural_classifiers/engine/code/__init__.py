"""The code that a step can reach, as one digest.

- `fingerprint`: the digest, with the versions of the libraries that decide results.
- `reach`: the definitions and data files that a function's names lead to.
"""
