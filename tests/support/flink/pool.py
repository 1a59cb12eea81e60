"""A worker pool on one address: `python pool.py ADDRESS START_SCRIPT`, where Beam is installed and this project is not.

Beam's own `worker_pool_main` listens on every address of the machine. Task managers number their workers alike, so each
needs a pool of its own (on Kubernetes: a sidecar), and here several must share a machine and a port number.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


def main(address: str, start_script: str) -> None:
    logging.basicConfig(level=logging.INFO)
    server = grpc.server(ThreadPoolExecutor())
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=start_script)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
