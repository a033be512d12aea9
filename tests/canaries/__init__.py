"""Guard pages and canaries around every array that a kernel sees: `python -m tests.canaries` runs all of them."""
