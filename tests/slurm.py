"""A real SLURM on this machine for a while: two partitions, one preempts the other."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
NodeName={host} CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 GraceTime={grace} State=UP
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF State=UP
"""


def missing() -> list[str]:
    """Programs of SLURM and MUNGE that this machine lacks."""
    return [name for name in PROGRAMS if not _find(name)]


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *_FOLDERS]))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def running(folder: Path, cores: int = 1, grace: int = 60) -> Iterator[Path]:
    """Starts a cluster of one node; yields its configuration, for SLURM_CONF.

    Args:
        folder: empty; a short path, since sockets lie in it.
        cores: that the node claims to have.
        grace: seconds that a preempted job of the partition `low` is given.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    host, user = socket.gethostname().split(".")[0], Path.home().owner()
    config = folder / "slurm.conf"
    ports = _free_ports(2)
    values = dict(host=host, user=user, ports=ports, folder=folder, cores=cores)
    config.write_text(_CONFIG.format(**values, grace=grace))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    munge = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    munge += [f"--socket={folder}/munge.socket"]
    commands = [munge, ["slurmctld", "-D", "-f", str(config)]]
    commands.append(["slurmd", "-D", "-f", str(config), "-N", host])
    with contextlib.ExitStack() as stack:
        for name, *options in commands:
            log = stack.enter_context((folder / f"{name}.out").open("w"))
            process = subprocess.Popen(
                [_find(name), *options], stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(0.5)
        stack.callback(_cancel_all, config)
        _wait_for_node(config)
        yield config


def _cancel_all(config: Path, seconds: float = 30) -> None:
    """Ends the jobs, which would outlive the daemons."""
    environment = os.environ | {"SLURM_CONF": str(config)}
    deadline = time.monotonic() + seconds
    subprocess.run(["scancel", f"--user={Path.home().owner()}"], env=environment)
    listed = "jobs"
    while listed and time.monotonic() < deadline:
        time.sleep(0.3)
        listed = subprocess.run(
            ["squeue", "--noheader"], env=environment, capture_output=True, text=True
        ).stdout


def _wait_for_node(config: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"],
            env=os.environ | {"SLURM_CONF": str(config)},
            capture_output=True,
            text=True,
        )
        if set(done.stdout.split()) == {"idle"}:
            return
        time.sleep(0.3)
    raise RuntimeError(f"no idle node: {done.stdout}{done.stderr}")
