"""launch.py with one more model, `tiny`, which starts and trains in seconds."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from aljax.__main__ import main  # noqa: E402
from aljax.machine import allocator  # noqa: E402

if __name__ == "__main__":
    allocator.prepare()
    from aljax.models import MODELS
    from aljax.models.resnet import BasicBlock, ResNet

    MODELS["tiny"] = partial(ResNet, BasicBlock, (1,))
    sys.exit(main())
