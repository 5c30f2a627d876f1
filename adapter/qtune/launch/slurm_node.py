"""A task of srun: the node supervisor, on the node of a job that Slurm numbers by SLURM_NODEID.

srun --ntasks=N --nodes=N python3 -m qtune.launch.slurm_node COMMAND …
"""

from __future__ import annotations

import os
import sys

from qtune.processes import node

if __name__ == "__main__":
    os.environ["NODE_RANK"] = os.environ["SLURM_NODEID"]
    sys.exit(node.main(sys.argv[1:]))
