"""Threads, forks, signals, cached code, the import, leaks: each in an interpreter of its own, on each threading layer."""
