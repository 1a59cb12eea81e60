"""A real Flink session cluster on this machine: a job manager, task managers, Beam's job server and a worker pool."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.runners import FLINK, JOB_SERVER, WORKER
from tests.support.servers import LOOPBACK, Server, free_ports, running, wait_for_port, wait_until
from tests.support.worker_environment import WORKER_FOLDERS, write_start_script

CONFIG = Path(__file__).with_name("config.yaml")
POOL = Path(__file__).with_name("pool.py")
POOL_HOST = "worker-pool"
_OPENED = (
    "lang lang.invoke lang.reflect net io nio text time "
    "util util.concurrent util.concurrent.atomic util.concurrent.locks"
)
OPENS = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED.split()] + [
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"
]
# Jobs of seconds: compiling well costs more than it gives.
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *OPENS]
MIB = 1 << 20
# A task manager started by hand, without Flink's scripts, has to be told every pool.
TASK_MEMORY = {
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": f"{128 * MIB}b",
    "taskmanager.memory.framework.off-heap.size": f"{128 * MIB}b",
    "taskmanager.memory.task.heap.size": f"{64 * MIB}b",
    "taskmanager.memory.task.off-heap.size": "0b",
    "taskmanager.memory.managed.size": f"{128 * MIB}b",
    "taskmanager.memory.network.min": f"{128 * MIB}b",
    "taskmanager.memory.network.max": f"{128 * MIB}b",
    "taskmanager.memory.jvm-metaspace.size": f"{256 * MIB}b",
    "taskmanager.memory.jvm-overhead.min": f"{192 * MIB}b",
    "taskmanager.memory.jvm-overhead.max": f"{192 * MIB}b",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlinkCluster:
    """A running cluster."""

    job_port: int
    pool_port: int
    rest_port: int
    package: Path
    folder: Path
    servers: dict[str, Server] = field(default_factory=dict)

    def options(self, *, parallelism: int) -> list[str]:
        """Returns the pipeline options that run a job here."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={LOOPBACK}:{self.job_port}",
            f"--flink_master={LOOPBACK}:{self.rest_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config={POOL_HOST}:{self.pool_port}",
            f"--parallelism={parallelism}",
            f"--extra_package={self.package}",
        ]

    def task_managers(self) -> int:
        """Returns how many task managers the job manager knows."""
        return len(_get(self.rest_port, "/taskmanagers").get("taskmanagers", []))

    def states(self) -> list[str]:
        """Returns the state of each job that Flink has seen, in Flink's words."""
        return [job["state"] for job in _get(self.rest_port, "/jobs/overview").get("jobs", [])]

    def workers_started(self) -> int:
        """Returns how many SDK workers the pools have started so far."""
        return len(list(self.folder.glob(WORKER_FOLDERS)))

    def logs(self) -> str:
        """Returns the end of each server's log."""
        return "\n".join(server.tail() for server in self.servers.values())


@contextmanager
def flink_cluster(folder: Path, *, package: Path, task_managers: int = 2) -> Iterator[FlinkCluster]:
    """Starts a cluster whose logs and scratch files are in `folder`, and ends it."""
    rest, rpc, blob, job, artifact, pool = free_ports(6)
    (folder / "config.yaml").write_text(CONFIG.read_text())
    cluster = FlinkCluster(job_port=job, pool_port=pool, rest_port=rest, package=package, folder=folder)
    common = {"rest.port": rest, "jobmanager.rpc.port": rpc, "blob.server.port": blob, "io.tmp.dirs": folder}
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str]) -> Server:
            log = folder / f"{name}.log"
            server = stack.enter_context(running(name, command, log=log, env=_environment()))
            cluster.servers[name] = server
            return server

        manager = start("job-manager", _flink("entrypoint.StandaloneSessionClusterEntrypoint", folder, common))
        server = start("job-server", _job_server(job, artifact, rest))
        script = write_start_script(folder)
        for number in range(task_managers):
            address = f"127.0.0.{1 + number}"
            hosts = folder / f"hosts-{number}"
            hosts.write_text(f"{address} {POOL_HOST}\n{LOOPBACK} localhost {socket.gethostname()}\n")
            settings = common | TASK_MEMORY
            runner = _flink("taskexecutor.TaskManagerRunner", folder, settings, f"-Djdk.net.hosts.file={hosts}")
            start(f"task-manager-{number}", runner)
            pool_command = [str(WORKER / "bin" / "python"), str(POOL), f"{address}:{pool}", str(script)]
            workers = start(f"worker-pool-{number}", pool_command)
            wait_for_port(pool, workers, host=address)
        wait_for_port(rest, manager)
        wait_until(lambda: cluster.task_managers() == task_managers, *cluster.servers.values())
        wait_for_port(job, server)
        yield cluster


def _flink(entry: str, folder: Path, settings: dict[str, object], *jvm: str) -> list[str]:
    # Beam's jars beside Flink's own ("in lib/"): only then do workers outlive a stage.
    classes = f"{FLINK}/*:{JOB_SERVER}/*"
    main = f"org.apache.flink.runtime.{entry}"
    command = [*JAVA, *jvm, "-cp", classes, main, "--configDir", str(folder)]
    for name, value in settings.items():
        command += ["-D", f"{name}={value}"]
    return command


def _job_server(job: int, artifact: int, rest: int) -> list[str]:
    driver = "org.apache.beam.runners.flink.FlinkJobServerDriver"
    ports = [f"--job-host={LOOPBACK}", f"--job-port={job}", f"--artifact-port={artifact}", "--expansion-port=0"]
    return [*JAVA, "-Xmx512m", "-cp", f"{JOB_SERVER}/*", driver, *ports, f"--flink-master={LOOPBACK}:{rest}"]


def _environment() -> dict[str, str]:
    # Neither a PYTHONPATH nor an activated environment of the tester's may lend the workers this project.
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def _get(port: int, path: str) -> dict[str, list[dict[str, str]]]:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {}
