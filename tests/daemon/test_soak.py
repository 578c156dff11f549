# SPDX-License-Identifier: BSD-2-Clause
"""The soak (tests/soak), for a moment: two cycles, without guests. `make soak HOURS=…` is the rest."""

import os
import random
import subprocess
import sys

from ptnet_real import BUILD, REPO


def test_soak(place):
    seed = random.SystemRandom().randrange(1 << 31)
    done = subprocess.run([sys.executable, REPO / "tests/soak/soak.py", "--cycles", "2", "--cycle-seconds", "10", "--guests", "0",
                           "--seed", str(seed), "--place", place], env=dict(os.environ, PTNETMAP_BUILD=str(BUILD)),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
