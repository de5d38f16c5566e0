"""Pictures of what accuracy cost."""

import pandas as pd

from aljax.report import names
from aljax.report.costs import costs
from aljax.report.figures.cost import PARTS, cost, seconds
from aljax.report.gallery.picture import Missing, Picture, stem
from aljax.report.settings import Setting
from aljax.report.style import Palette


def what_it_cost(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Accuracy over seconds and over memory, and where the time went."""
    table = costs(setting)
    if not len(table):
        return [Missing("No run is finished, so nothing can be said of its cost.")]
    found: list[Picture | Missing] = [
        _cost(
            setting,
            table,
            palette,
            ("train_seconds", "front_seconds", 1.0),
            "Training seconds of all cycles",
            "Accuracy and training time",
        )
    ]
    device = table["peak_device_bytes"].notna().any()
    memory = "peak_device_bytes" if device else "peak_host_bytes"
    where = "device" if device else "host"
    found.append(
        _cost(
            setting,
            table,
            palette,
            (memory, "front_memory", 1e-9),
            f"Peak {where} memory, GB",
            "Accuracy and memory",
        )
    )
    return found + [_seconds(setting, table)]


def _cost(setting, table, palette, of, below: str, title: str) -> Picture | Missing:
    field, front, factor = of
    if not table[field].notna().any():
        return Missing(f"{title}: {below.lower()} were not recorded.")
    best = table[table[front]].sort_values(field)
    said = ", ".join(
        f"{names.cell_name(row.model, row.optimizer, row.strategy)} "
        f"({100 * row.accuracy:.1f} %)"
        for row in best.head(6).itertuples()
    )
    left_out = int(table[field].isna().sum())
    counts = sorted({int(n) for n in table["n"]})
    span = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    return Picture(
        stem(setting, f"cost_{field}"),
        title,
        "A point is a pair with one strategy, mean over "
        f"n = {span} finished trials: colour is the optimizer, shape the network. The "
        "grey line joins those that nothing beats in both (Pareto front)."
        + (f" {left_out} points were not recorded." if left_out else ""),
        f"Scatter plot. On the front, cheapest first: {said}.",
        lambda width: cost(
            table, field, front, palette, width=width, below=below, factor=factor
        ),
        small=True,
    )


def _seconds(setting: Setting, table: pd.DataFrame) -> Picture | Missing:
    if not table[list(PARTS)].notna().any().any():
        return Missing("Seconds were not recorded.")
    mean = table.groupby(["model", "optimizer"], sort=False)[list(PARTS)].mean()
    mean = mean.reset_index()
    first = mean.iloc[0]
    said = ", ".join(f"{PARTS[f][0]} {first[f]:,.0f} s" for f in PARTS)
    return Picture(
        stem(setting, "seconds"),
        "Where the time went",
        "Seconds of one whole run of each pair, mean over trials and strategies. They "
        "compare only on the same device, with nothing else running.",
        f"Stacked bars. {names.pair_name(first['model'], first['optimizer'])}: {said}.",
        lambda width: seconds(mean, width=width),
        small=True,
    )
