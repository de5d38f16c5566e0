"""A real SLURM on this machine for a while: two partitions, one preempts the other.

It may have two nodes, which are this machine under two names, and a GPU that is none.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.together import free_ports

SECOND = "localhost"  # the second node, a name that leads here too
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
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
GresTypes=gpu
"""
_PARTITIONS = """\
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime={grace} State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""
_NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} "
    "RealMemory=1000 Gres={gres} State=UNKNOWN\n"
)


def missing() -> list[str]:
    """Programs of SLURM and MUNGE that this machine lacks."""
    return [name for name in PROGRAMS if not _find(name)]


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *_FOLDERS]))


@contextlib.contextmanager
def running(
    folder: Path, nodes: int = 1, cores: int = 1, grace: int = 60, gpu: bool = False
) -> Iterator[Path]:
    """Starts a cluster; yields its configuration, for SLURM_CONF.

    Args:
        folder: empty; a short path, since sockets lie in it.
        nodes: 1 or 2.
        cores: that each node claims to have.
        grace: seconds that a preempted job of the partition `low` is given.
        gpu: SLURM shall believe that each node has one, which is /dev/null.
    """
    (folder / "state").mkdir()
    folder.chmod(0o755)
    host, user = socket.gethostname().split(".")[0], Path.home().owner()
    names, (port, *ports) = [host, SECOND][:nodes], free_ports(1 + nodes)
    config = folder / "slurm.conf"
    text = _CONFIG.format(host=host, user=user, port=port, folder=folder)
    for name, port in zip(names, ports, strict=True):
        (folder / f"spool.{name}").mkdir()
        node = {"name": name, "host": host, "port": port, "cores": cores}
        text += _NODE.format(**node, gres=f"gpu:{int(gpu)}")
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n" if gpu else "")
    config.write_text(text + _PARTITIONS.format(grace=grace))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    munge = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    munge += [f"--socket={folder}/munge.socket"]
    commands = [munge, ["slurmctld", "-D", "-f", str(config)]]
    for name in names:
        commands.append(["slurmd", "-D", "-f", str(config), "-N", name])
    with contextlib.ExitStack() as stack:
        for name, *options in commands:
            log = stack.enter_context((folder / f"{name}.out").open("a"))
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
