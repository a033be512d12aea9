"""``python -m bench.peers``. Imports nothing else by itself, because every spawned worker imports this file."""

if __name__ == "__main__":
    import sys

    from .run import main

    sys.exit(main())
