"""What earlier runs on this machine took, for estimates; never for a result."""

import contextlib
import json
from dataclasses import asdict, dataclass

from aljax.config import Config
from aljax.machine.devices import Devices, cache_folder, processor
from aljax.runs.folder import write_json

_FILE = "pace.json"


@dataclass(frozen=True)
class Pace:
    """What one kind of run took on one kind of machine."""

    seconds_per_image: float  # of training, each epoch counted
    compile_seconds: float  # with an empty cache
    peak_bytes: int  # of the process, or of a device where it tells


def kind_of(config: Config, devices: Devices) -> str:
    """What runs have in common that go at the same pace."""
    device = devices.mesh.devices.flat[0]
    name = processor() if device.platform == "cpu" else device.device_kind
    return (
        f"{config.model}, width {config.width}, batch {config.batch_size}, "
        f"{config.precision}, {config.optimizer}, {config.data.name} "
        f"{config.data.image_size} on {devices.size} x {name}"
    )


class Paces:
    """Paces by kind, kept in a small file beside the compiled programs.

    Args:
        folder: of compiled programs; empty: nothing is kept or known.
    """

    def __init__(self, folder: str):
        home = cache_folder(folder)
        self._path = home / _FILE if home else None

    def __call__(self, kind: str) -> Pace | None:
        """The pace of a kind; None where nothing like it has run here yet."""
        found = self._read().get(kind)
        return Pace(**found) if found else None

    def remember(self, kind: str, pace: Pace) -> None:
        """Keeps the newest pace, and the longest time of compiling, which was cold."""
        if self._path is None:
            return
        known, before = self._read(), self(kind)
        kept = asdict(pace)
        if before:
            kept["compile_seconds"] = max(pace.compile_seconds, before.compile_seconds)
        with contextlib.suppress(OSError):  # an estimate less is no reason to stop
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, known | {kind: kept})

    def _read(self) -> dict[str, dict]:
        try:
            found = json.loads(self._path.read_text()) if self._path else {}
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        fields = Pace.__dataclass_fields__.keys()
        return {
            kind: pace
            for kind, pace in found.items()
            if isinstance(pace, dict) and pace.keys() == fields
        }
