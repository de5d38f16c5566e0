"""Advice: what somebody would do otherwise who knew this machine, and these numbers."""

from aljax.config import Config, labels_in
from aljax.models import MODELS, ResNet
from aljax.models.conv import kernels
from aljax.runs.plan import Plan

SLOW_PRODUCTS = (
    "images are convolved by products of matrices, not by aljax's own kernels, which "
    "takes 2.2 times as long (ResNet18 of width 16, AMD EPYC with AVX-512; 1.3 times "
    "at full width), and gives other last digits: {}."
)
# n = 3, jax 0.10.2, commit fa73ac630888, its benchmarks/sheets/xeon_amx.
SLOW_BFLOAT16 = (
    "such products take longer in bfloat16 than in float32, 1.2 times in training and "
    "2.9 in scoring (ResNet18, Intel Xeon with AMX); choose "
    "--config.precision=float32."
)
UNUSED_TILES = (  # n = 2, jax 0.10.2, commit a589370 (benchmarks/README.md)
    "the C++ compiler does not know this processor's AMX, which makes bfloat16 1.4 to "
    "1.6 times as fast (ResNet18, Intel Xeon); name a newer one by CXX (GCC since 11)."
)
SMALL = 16  # images in a last batch; with fewer, accuracy was seen to fall
# n = 3, benchmarks/study, commit 1f2b40f.
SMALL_LAST_BATCH = (
    "{images:,} images leave a last batch of {rest}, by whose statistics evaluation "
    "normalises in part, as in PyTorch: 2,500 in batches of 64, which leave 4, made a "
    "ResNet18 of width 16 3.4 points less accurate than 2,496 (n = 3). To avoid it, "
    "choose config.batch_size, config.initial or config.budget that leave none or more."
)
LATE_MILESTONE = (
    "schedule.milestones has {}, but training ends after {} epochs, so the learning "
    "rate is not lowered there; to shorten a recipe, lower its milestones and "
    "loss_prediction.detach_epoch with config.epochs."
)


def advice(plan: Plan, platform: str) -> list[str]:
    """What is said of a plan before it starts on a platform, a sentence each."""
    configs = list({str(run.config): run.config for run in plan.runs}.values())
    sentences = []
    if small := _smallest_last_batch(configs):
        sentences.append(SMALL_LAST_BATCH.format(rest=small[0], images=small[1]))
    sentences += dict.fromkeys(filter(None, map(_late_milestone, configs)))
    if platform != "cpu":
        return sentences
    bfloat16 = any(config.precision == "bfloat16" for config in configs)
    if missing := kernels.missing():
        sentences.append(SLOW_PRODUCTS.format(missing))
        sentences += [SLOW_BFLOAT16] * bfloat16
    elif bfloat16 and kernels.unused_tiles():
        sentences.append(UNUSED_TILES)
    return sentences


def _late_milestone(config: Config) -> str:
    """What is said of a milestone that never comes; "": all do."""
    late = [epoch for epoch in config.schedule.milestones if epoch >= config.epochs]
    return LATE_MILESTONE.format(late[0], config.epochs) if late else ""


def _smallest_last_batch(configs: list[Config]) -> tuple[int, int] | None:
    """The smallest last batch that may do harm, and of how many images."""
    found = []
    for config in configs:
        for cycle in range(1, config.cycles + 1):
            images = labels_in(config, cycle) - config.validation
            rest = images % config.batch_size
            if 0 < rest < min(SMALL, config.batch_size / 4) and _ours(config):
                found.append((rest, images))
    return min(found, default=None)


def _ours(config: Config) -> bool:
    """Whether its network is one of aljax's own, which normalise by the batch."""
    return getattr(MODELS[config.model], "func", None) is ResNet
