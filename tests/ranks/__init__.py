"""The experiments of scripts/experiments: each runs, draws, and finds what it says it finds."""
