"""``python -m golemp2p_nodes < case.json``: play one case with whole nodes and print its trace hash, nothing else."""

import json
import sys

from golemp2p_nodes.run import run_case
from golemp2p_sim.case import case_from_json

if __name__ == "__main__":
    print(run_case(case_from_json(json.load(sys.stdin))).trace_hash)
