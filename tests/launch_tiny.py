"""launch.py with one more model, `tiny`, which starts and trains in seconds."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from aljax import environment  # noqa: E402

if __name__ == "__main__":
    environment.prepare()
    from aljax.command_line import main
    from aljax.models import MODELS
    from aljax.models.resnet import BasicBlock, ResNet

    MODELS["tiny"] = partial(ResNet, BasicBlock, (1,))
    sys.exit(main())
