"""What holds for all tests."""

import signal

# A shell that starts tests in the background may have Ctrl-C ignored, and every process that they start would inherit that and never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
