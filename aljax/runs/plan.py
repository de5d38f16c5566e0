"""A plan: which runs, in which folder, on which images; checked before anything starts.

WORKDIR/config.json                                     the experiment and its grids
WORKDIR/results.json                                    curves of every run
WORKDIR/<model>/<optimizer>/<strategy>/trial_<t>/       one run
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from aljax.config import Config, Data, check_pool, flatten
from aljax.data import Dataset, load, pool_size
from aljax.grid import (
    FOLDERS,
    Run,
    differences,
    expand,
    grid_values,
    members,
    only,
    shard,
    validate_grid,
)
from aljax.machine.devices import Devices, cache_folder, check_share
from aljax.machine.processes import check_same, done_by_first
from aljax.runs.folder import read_json, write_json
from aljax.runs.provenance import provenance


@dataclass(frozen=True)
class Plan:
    """What is to be done: groups of runs of one configuration, and where they go.

    Attributes:
        config: what the groups were expanded from.
        groups: the runs to carry out; those of a group need each other, in order.
        workdir: the folder of the experiment.
        data_dir: where tensorflow-datasets keeps its data; None: its default.
        compile_cache_dir: where compiled programs and paces are kept; "": nowhere.
    """

    config: Config
    groups: list[list[Run]]
    workdir: Path
    data_dir: str | None = None
    compile_cache_dir: str = ""

    @property
    def runs(self) -> list[Run]:
        """The runs of all groups, in order."""
        return [run for group in self.groups for run in group]

    @property
    def several(self) -> bool:
        """Whether the runs are of more than one member of a grid."""
        return len({run.folder.rpartition("/")[0] for run in self.runs}) > 1

    @property
    def training_images(self) -> int:
        """Images that all runs together train on, each epoch counted."""
        return sum(run.training_images for run in self.runs)

    def check(self, devices: int) -> None:
        """Checks all that can be known before images are read or folders made.

        Args:
            devices: how many share a batch.

        Raises:
            ValueError: names the field or the folder, and what to do.
        """
        self.check_batches(devices)
        self.check_workdir()
        self.check_pools()

    def check_batches(self, devices: int) -> None:
        """Checks that devices can share every batch evenly; else ValueError."""
        for _, member in members(self.config):
            check_share("batch_size", member.batch_size, devices)
            check_share("score_batch_size", member.score_batch_size, devices)

    @done_by_first
    def check_workdir(self) -> None:
        """Refuses a folder that cannot be written or that holds another experiment.

        Raises:
            ValueError: says which fields differ, or what is in the way.
        """
        ancestor = self.workdir
        try:
            while not _is_there(ancestor) and ancestor != ancestor.parent:
                ancestor = ancestor.parent
            writable = ancestor.is_dir() and os.access(ancestor, os.W_OK | os.X_OK)
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise ValueError(
                f"--workdir={self.workdir}: no folder can have this name ({said}); "
                "choose another --workdir."
            ) from error
        if not writable:
            raise ValueError(
                f"--workdir={self.workdir}: {ancestor} is not a folder that can be "
                "written; choose another --workdir."
            )
        self.check_experiment()

    def check_begun(self) -> None:
        """Refuses a workdir that is not there: ValueError."""
        if not self.workdir.is_dir():
            raise ValueError(
                f"--workdir={self.workdir}: there is no such folder, so nothing has "
                "been started there; check its name, or leave --status out to start."
            )
        if self._read() is None:
            raise ValueError(
                f"--workdir={self.workdir} holds no experiment: it has no config.json; "
                "check its name, or leave --status out to start."
            )

    def _read(self) -> dict[str, Any] | None:
        """What `config.json` says of the experiment; None where there is none yet."""
        remedy = "put it back from a copy, or delete this file: runs have their own."
        return read_json(self.workdir / "config.json", "config", remedy=remedy)

    def check_experiment(self) -> None:
        """Refuses a folder that holds another experiment: ValueError names fields."""
        known = self._read()
        if known is None:
            return
        found = differences(_grown(known), flatten(self.config))
        if found:
            raise ValueError(
                f"--workdir={self.workdir} holds another experiment: "
                f"{'; '.join(found)}. "
                "Choose another --workdir, or set these fields as they are there."
            )
        for grid in known.get("grids", []):
            self._check_order(grid)

    def _check_order(self, grid: dict[str, list]) -> None:
        """Refuses the fields of a grid in another order: folders are named by it."""
        here = [name for name in self.config.sweep if name not in FOLDERS]
        there = [name for name in grid if name in here]
        if set(there) == set(here) and there != here:
            raise ValueError(
                f"--config.sweep: its fields come as {', '.join(there)} in "
                f"--workdir={self.workdir}, and folders of runs are named in that "
                "order; write them so, or choose another --workdir."
            )

    @done_by_first
    def check_pools(self) -> None:
        """Checks that each pool is there and lasts for all cycles; reads no image."""
        sizes: dict[str, int] = {}
        for group in self.groups:
            data = group[0].config.data
            if str(data) not in sizes:
                sizes[str(data)] = pool_size(data, self.data_dir)
            check_pool(group[0].config, sizes[str(data)])

    def prepare_data(self) -> None:
        """Fetches and reads all images once, before many processes want them."""
        found = {str(g[0].config.data): g[0].config.data for g in self.groups}
        for data in found.values():
            load(data, self.data_dir)

    def read_images(self, data: Data) -> Dataset:
        """Loads images; the first process prepares the files that the others find."""
        loaded = []

        @done_by_first
        def prepare():
            loaded.append(load(data, self.data_dir))

        prepare()
        dataset = loaded[0] if loaded else load(data, self.data_dir)
        check_same(
            dataset.fingerprint,
            f"finds other images under --config.data.name={data.name} than the first "
            "one; give all of them the same.",
        )
        for group in self.groups:
            if group[0].config.data == data:
                check_pool(group[0].config, len(dataset.train_labels))
        return dataset

    @done_by_first
    def write(self, devices: Devices | None = None) -> None:
        """Makes the workdir and its `config.json`, or adds a grid to its `grids`.

        `config` there is what the folder was begun with; each of `grids` maps fields to
        values, and no grid is a part of another.

        Args:
            devices: what it runs on; None: it does not run yet.
        """
        self.check_experiment()  # again: another command may have begun meanwhile
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, PermissionError) as error:
            raise ValueError(
                f"--workdir={self.workdir} cannot be made ({error.strerror}); choose "
                "another one."
            ) from error
        path = self.workdir / "config.json"
        known = self._read() or {}
        content = {"config": flatten(self.config)} | known
        if devices and "versions" not in known:
            content |= provenance(devices)
        grids, new = known.get("grids", []), grid_values(self.config)
        if not any(_contains(old, new) for old in grids):
            kept = [old for old in grids if not _contains(new, old)]
            content["grids"] = [*kept, new]
        if content != known:
            write_json(path, content)


def _is_there(path: Path) -> bool:
    """Whether there is such a file or link; raises where no disk takes such a name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _grown(known: dict[str, Any]) -> dict[str, Any]:
    """What a workdir was begun with, swept over all that its grids have had since."""
    config = known["config"]
    sweep = dict(config.get("sweep", {}))
    for grid in known.get("grids", []):
        for name, values in grid.items():
            had = sweep.get(name, [config.get(name)])
            if more := [value for value in values if value not in had]:
                sweep[name] = [*had, *more]
    return config | ({"sweep": sweep} if sweep else {})


def _contains(large: dict[str, list], small: dict[str, list]) -> bool:
    return large.keys() == small.keys() and all(
        all(value in large[name] for value in small[name]) for name in small
    )


def make_plan(
    config: Config,
    workdir: str | Path,
    data_dir: str | None = None,
    shard_text: str | None = None,
    only_folder: str | None = None,
    compile_cache_dir: str = "",
) -> Plan:
    """Validates a configuration and lists its runs.

    Args:
        config: an experiment or a grid.
        workdir: where results go.
        data_dir: where tensorflow-datasets keeps its data; None: its default.
        shard_text: K/N picks the K-th of N parts of the runs; None: all.
        only_folder: picks the run of this folder in the workdir; None: all.
        compile_cache_dir: where compiled programs and paces are kept; "": nowhere.

    Raises:
        ValueError: names the field, the value, what is allowed and what to do.
    """
    validate_grid(config)
    every = expand(config)
    groups = shard(every, shard_text)
    if only_folder is not None:
        (group,) = only(every, only_folder)
        if group not in groups:
            raise ValueError(
                f"--only={only_folder}: this run is not in --shard={shard_text}; leave "
                "one of them out."
            )
        groups = [group]
    data_dir = data_dir and os.path.expanduser(data_dir)
    try:
        workdir = Path(workdir).expanduser()
    except RuntimeError as error:
        raise ValueError(f"--workdir={workdir}: nobody here has that home.") from error
    if compile_cache_dir and cache_folder(compile_cache_dir) is None:
        logging.warning(
            "--compile_cache_dir=%s: nobody here has that home, so each start compiles "
            "anew; name a folder.",
            compile_cache_dir,
        )
    return Plan(config, groups, workdir, data_dir, compile_cache_dir)
