"""Threads, forks, signals, the cache of compiled code, the import and what leaks: each in an interpreter of its own, on each threading layer."""
