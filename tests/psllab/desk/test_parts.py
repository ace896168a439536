"""What the desk shows, and what it prepares meanwhile."""

import subprocess
import sys


def test_the_first_training_waits_for_no_import():
    code = (
        "import sys, time; from psllab.desk import parts; parts.warm_up(); parts.warm_up(); end = time.time() + 60\n"
        "while 'torch._dynamo' not in sys.modules and time.time() < end: time.sleep(0.1)\n"
        "assert 'torch._dynamo' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr == ""
