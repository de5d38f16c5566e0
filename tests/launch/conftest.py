"""A made-up SLURM."""

import os

import pytest

# Each writes down what it was asked, and answers as SLURM does.
COMMANDS = {
    "sbatch": 'cat > "$ASKED/script"; env > "$ASKED/env"; echo "$@" > "$ASKED/options"'
    '; if [ -e "$ASKED/refuse" ]; then echo "error: invalid partition" >&2; exit 1; fi'
    "; echo '4711;cluster'",
    "squeue": 'cat "$ASKED/queue"',
    "srun": 'echo "$@" >> "$ASKED/srun"; '
    'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'echo "$@" >> "$ASKED/scontrol"'
    '; if [ -e "$ASKED/deaf" ]; then rm "$ASKED/deaf"; exit 1; fi',
    "sleep": ":",
}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The folder in which the commands of a made-up SLURM write down what they hear."""
    commands, asked = tmp_path / "commands", tmp_path / "asked"
    commands.mkdir()
    asked.mkdir()
    for name, body in COMMANDS.items():
        path = commands / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    (asked / "queue").write_text("")
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(asked))
    return asked
