"""A Ray cluster of two nodes of one CPU each on this machine, while its input is open; prints its address.

A line on the input takes the second node away, as a machine that loses its power.
"""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster

STORE_BYTES = 80_000_000  # the least that Ray takes


def main() -> None:
    size = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    second = cluster.add_node(**size)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    if sys.stdin.readline():
        cluster.remove_node(second, allow_graceful=False)
        print("gone", flush=True)
        sys.stdin.readline()
    cluster.shutdown()


if __name__ == "__main__":
    main()
