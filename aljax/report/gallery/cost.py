"""Pictures of what accuracy cost."""

import pandas as pd

from aljax.report import names, wording
from aljax.report.costs import common_units, costs, mixed_machines
from aljax.report.figures.cost import PARTS, cost, seconds
from aljax.report.gallery.picture import Missing, Picture
from aljax.report.matches import BASELINE
from aljax.report.settings import Setting
from aljax.report.style import Palette


def what_it_cost(setting: Setting, palette: Palette) -> list[Picture | Missing]:
    """Accuracy over seconds and over memory, and where the time went."""
    table = costs(setting, common_units(setting))
    if not len(table):
        return [Missing("No run is finished, so nothing can be said of its cost.")]
    found: list[Picture | Missing] = []
    if mixed := mixed_machines(setting):
        found.append(Missing(mixed))
    else:
        found.append(
            _cost(
                setting,
                table,
                palette,
                ("train_seconds", 1.0),
                "Training seconds of all cycles",
                "Accuracy and training time",
                "The grey line joins those that nothing beats in both (Pareto front).",
            )
        )
    device = table["peak_device_bytes"].notna().any()
    memory = "peak_device_bytes" if device else "peak_host_bytes"
    where = "device" if device else "host"
    found.append(
        _cost(
            setting,
            table,
            palette,
            (memory, 1e-9),
            f"Peak {where} memory, GB",
            "Accuracy and memory",
            "Memory is the most that the process had used by then: of runs that one "
            "process made in turn, the later count what the earlier needed.",
        )
    )
    return found if mixed else [*found, _seconds(setting, table)]


def _cost(
    setting, table, palette, of, below: str, title: str, note: str
) -> Picture | Missing:
    field, factor = of
    if not table[field].notna().any():
        return Missing(f"{title}: {below.lower()} were not recorded.")
    least, which = table.dropna(subset=[field]).sort_values(field), "From the left"
    if field == "train_seconds":
        least, which = least[least["front"]], "On the front, from the left"
    said = ", ".join(
        f"{names.cell_name(row.model, row.optimizer, row.strategy)} "
        f"({100 * row.accuracy:.1f} %)"
        for row in least.head(6).itertuples()
    )
    said += ", …" * (len(least) > 6)
    left_out = names.counted(int(table[field].isna().sum()), "point")
    span = wording.trials(int(n) for n in table["n"])
    span += " that all have" * bool(common_units(setting))
    hollow = table["strategy"].nunique() > 1 and BASELINE in set(table["strategy"])
    return Picture(
        setting.stem(f"cost_{field}"),
        title,
        f"A point is a pair with one strategy, mean over {span}: colour is the "
        f"optimizer, shape the network{', hollow is random' * hollow}. {note}"
        + f" Not recorded: {left_out}."
        * bool(table[field].isna().any()),
        f"Scatter plot. {which}: {said}.",
        lambda width: cost(
            table, field, palette, width=width, below=below, factor=factor
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
        setting.stem("seconds"),
        "Where the time went",
        "Seconds of one whole run of each pair, mean over trials and strategies. They "
        "compare only on the same device, with nothing else running.",
        f"Stacked bars. {names.pair_name(first['model'], first['optimizer'])}: {said}.",
        lambda width: seconds(mean, width=width),
        small=True,
    )
