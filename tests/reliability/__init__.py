"""What must never happen, row by row: the tests that show it, and the one-line breaks that each of them finds."""
