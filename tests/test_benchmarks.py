import json
import os
import subprocess
import sys
from pathlib import Path

SPEED = Path(__file__).parent.parent / "benchmarks" / "speed.py"


def test_the_speed_benchmark_measures_every_contender_on_both_workloads():
    command = [sys.executable, str(SPEED), "--threads", "1", "--rounds", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    results = json.loads(done.stdout)
    assert set(results) == {"W1", "W2"}
    for times in results.values():
        assert set(times) == {"bare loop", "bare loop, fused Adam", "vaelib.fit", "matrix products alone"}
        assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in times.values())
        assert times["matrix products alone"] < times["bare loop"]
