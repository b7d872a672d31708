"""Every test computes on one thread and draws without a screen.

Two threads make small networks many times slower where tests run side by side.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
