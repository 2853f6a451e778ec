"""``python -m golemp2p_sim < case.json``: play one case and print its trace hash, nothing else.

For people there is ``golemp2p sim``; this is how a run is repeated in another process to see whether it is the same.
"""

import json
import sys

from golemp2p_sim.case import case_from_json
from golemp2p_sim.run import run_case

if __name__ == "__main__":
    print(run_case(case_from_json(json.load(sys.stdin))).trace_hash)
