"""Every test computes on one thread and draws without a screen; Ctrl-C reaches it and the programs that it starts.

Two threads make small networks many times slower where tests run side by side. A shell starts what runs in the
background (`make test &`) deaf to Ctrl-C, which some tests send.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
