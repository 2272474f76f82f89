"""Owns the node program's command line: ``python -m include.sandbox.node``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from include.errors import StellwerkError
from include.sandbox.node.kubelet import Identity
from include.sandbox.node.program import Node, Options


def options(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m include.sandbox.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of a node's and kube-proxy's rights")
    parser.add_argument("--images", type=Path, required=True, help="folder of the image store")
    parser.add_argument("--state", type=Path, required=True, help="folder for logs and the keeper's socket")
    parser.add_argument("--node-name", default="node-1")
    parser.add_argument("--egress-socket", type=Path, required=True, help="where the API server's egress connects")
    parser.add_argument("--tls-cert", type=Path, required=True, help="kubelet's certificate, for 10.244.0.1")
    parser.add_argument("--tls-key", type=Path, required=True)
    parser.add_argument("--client-ca", type=Path, required=True, help="signs the API server's kubelet client")
    parser.add_argument("--kubelet-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--owner-pid", type=int, default=os.getppid(), help="pods end with it; its starter's")
    parser.add_argument(
        "--absence-seconds", type=float, default=10.0, help="pods outlive the node program so long"
    )
    parser.add_argument("--stop-seconds", type=float, default=5.0, help="pods get so long at SIGTERM")
    given = parser.parse_args(arguments)
    return Options(
        kubeconfig=given.kubeconfig,
        images=given.images,
        state=given.state.resolve(),
        node_name=given.node_name,
        egress_socket=given.egress_socket,
        identity=Identity(given.tls_cert, given.tls_key, given.client_ca),
        kubelet_port=given.kubelet_port,
        owner_pid=given.owner_pid,
        absence_seconds=given.absence_seconds,
        stop_seconds=given.stop_seconds,
    )


def main() -> int:
    """Run the node program until a signal ends it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    os.umask(0o077)
    given = options(sys.argv[1:])
    given.state.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(Node(given).run())
    except StellwerkError as problem:
        print(f"node: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
