"""The page of a sheet: one file that holds every number and chart.

Its looks are those of a report's page, whose style sheet it takes; jinja2 and
matplotlib are not needed.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import sheet_charts
from sheet_charts import Bar, Dot, bars, bounds_of, dots
from sheet_counts import HEAD, cells
from sheet_tasks import WORDS
from sheet_words import answers, lead, model_name, name_of

STYLE = Path(__file__).parents[1] / "aljax/report/templates/page.css"


def page(report: dict[str, Any]) -> str:
    """The page of what `sheet.json` holds, as HTML."""
    title = escape(name_of(report))
    parts = (
        _answers(report),
        _missing(report["missing"]),
        _ratios(report["rows"]),
        _rates(report["rows"]),
        _throughput_table(report),
        _ceilings(report["ceilings"]),
        _counts(report.get("counts", [])),
        _scaling(report),
        _made(report),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – aljax sheet</title>
<link rel="icon" href="data:,">
<style>
{STYLE.read_text()}{sheet_charts.STYLE}</style>
</head>
<body>
<header>
<p class="kicker">aljax machine sheet</p>
<h1>{title}</h1>
<p class="lead">{escape(lead(report))}</p>
</header>
<main>
{"".join(parts)}
</main>
<footer>Made by <code>benchmarks/sheet.py</code>. Everything here is in this file; every
single measurement is in <code>sheet.json</code> beside it.</footer>
</body>
</html>
"""


def _answers(report: dict[str, Any]) -> str:
    items = "".join(_answer(*line) for line in answers(report))
    return f'<section aria-label="Answer"><ul class="answers">{items}</ul></section>'


def _answer(question: str, verdict: str, text: str) -> str:
    good = " yes" if verdict in ("faster", "the same") else ""
    shown = f'<p class="verdict{good}">{escape(verdict)}</p>' if verdict else ""
    return (
        f'<li><div class="head"><p class="question">{escape(question)}</p>{shown}</div>'
        f'<div><p class="said">{escape(text)}</p></div></li>'
    )


def _missing(missing: list[dict[str, str]]) -> str:
    if not missing:
        return ""
    items = "".join(
        f"<li>{escape(one['what'])}: {escape(one['why'])}.</li>" for one in missing
    )
    title = '<h2 id="missing-title">Not measured</h2>'
    return (
        f'<section class="doubts" aria-labelledby="missing-title">{title}'
        f"<ul>{items}</ul></section>"
    )


def _figure(title: str, chart: str, caption: str) -> str:
    return (
        f"<figure><h3>{escape(title)}</h3>{chart}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _ratios(rows: list[dict[str, Any]]) -> str:
    drawn: dict[str, list[Dot]] = {}
    for r in (r for r in rows if "ratio_rounds" in r):
        title, ratio = (
            f"{model_name(r['model'])}, {r['precision']}",
            r["ratio_over_tuned"],
        )
        span = min(r["ratio_rounds"]), max(r["ratio_rounds"])
        dot = Dot(title, ratio, f"{ratio:.2f}×", *span)
        drawn.setdefault(WORDS[r["phase"]], []).append(dot)
    if not drawn:
        return ""
    bounds = bounds_of([dot for group in drawn.values() for dot in group])
    figures = "".join(
        _figure(
            phase.capitalize(),
            dots(group, f"{phase}: speed over PyTorch", 1.0, bounds, log=True),
            "Dot: the median of all rounds; line: their range; dashed: as fast as "
            "PyTorch. Ratios are taken within a round; the axis is logarithmic.",
        )
        for phase, group in drawn.items()
    )
    title = "Speed over the fastest PyTorch of the same precision"
    return _section(title, f'<div class="pair">{figures}</div>')


def _rates(rows: list[dict[str, Any]]) -> str:
    figures = []
    for phase in dict.fromkeys(r["phase"] for r in rows):
        groups = []
        for r in (r for r in rows if r["phase"] == phase):
            group = [
                _bar(WORDS[side], rates)
                for side, rates in r["images_per_second_rounds"].items()
            ]
            groups.append((f"{model_name(r['model'])}, {r['precision']}", group))
        size = next(r["batch_size"] for r in rows if r["phase"] == phase)
        title = f"{WORDS[phase].capitalize()}, images per second"
        caption = f"Batches of {size}; median and range of all rounds."
        figures.append(_figure(title, bars(groups, title), caption))
    if not figures:
        return ""
    return _section("Throughput", f'<div class="pair">{"".join(figures)}</div>')


def _bar(name: str, values: list[float], scale: float = 1.0) -> Bar:
    ordered = sorted(value / scale for value in values)
    half = len(ordered) // 2
    middle = (ordered[half] + ordered[-half - 1]) / 2
    return Bar(name, middle, _number(middle), ordered[0], ordered[-1])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _section(title: str, *inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(inside)}</section>"


def _throughput_table(report: dict[str, Any]) -> str:
    rows = report["rows"]
    if not rows:
        return ""
    tf32 = "" if report["platform"] == "cpu" else " On NVIDIA GPUs float32 is TF32."
    head = ["network", "", "precision", "n", "aljax", "PyTorch", "over it", "range"]
    head += ["any precision", "memory over", "compiling, s", "of ceiling"]
    return _table("All numbers", head, map(_throughput_cells, rows), 3) + (
        '<p class="caption">Images per second, medians of n rounds. PyTorch: its '
        "fastest manner of the same precision, and which. Any precision: over the "
        "fastest PyTorch whatever its precision. Of ceiling: multiplications of the "
        "direct algorithm over the fastest matrix product below; Winograd’s algorithm "
        f"needs fewer, so it may exceed 100 %.{tf32}</p>"
    )


def _throughput_cells(r: dict[str, Any]) -> list[str]:
    rates, best = r["images_per_second"], r["best_torch"]
    cells = [
        model_name(r["model"]),
        WORDS[r["phase"]],
        r["precision"],
        str(r["rounds"]),
    ]
    cells += [_number(rates["aljax"])]
    if "ratio_rounds" in r:
        how = "compiled" if r["torch_compile"] else "not compiled"
        memory = r["peak_bytes"]["aljax"] / r["peak_bytes"]["torch_tuned"]
        cells += [f"{_number(rates['torch_tuned'])} {how}"]
        cells += [f"{r['ratio_over_tuned']:.2f}", _span(r["ratio_rounds"])]
        cells += [f"{best['ratio']:.2f} ({best['precision']})", f"{memory:.2f}"]
    else:
        cells += ["–"] * 5
    share = r["ceiling_share"]
    return cells + [f"{r['compile_seconds']:.0f}", f"{share:.0%}" if share else "–"]


def _span(values: list[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def _table(title: str, head: list[str], rows: Iterable[list[str]], words: int) -> str:
    """A table whose first columns are words and whose others are numbers."""

    def line(tag: str, cells: list[str]) -> str:
        kinds = ["" if i < words else ' class="number"' for i in range(len(cells))]
        return "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>"
            for kind, cell in zip(kinds, cells, strict=True)
        )

    lines = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f"<h3>{escape(title)}</h3>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><thead><tr>{line('th', head)}</tr></thead><tbody>{lines}</tbody>"
        "</table></div>"
    )


def _ceilings(ceilings: dict[str, dict]) -> str:
    if not ceilings:
        return ""
    words, figures = {"jax": "JAX", "torch": "PyTorch"}, []
    shown = (
        ("flops", 1e9, "Matrix product, GFLOP/s"),
        ("copy_bytes_per_second", 1e9, "Copy, GB/s read and written"),
    )
    for field, scale, title in shown:
        groups = [
            (precision, [_bar(words[b], [v[field]], scale) for b, v in c["by"].items()])
            for precision, c in ceilings.items()
            if field == "flops" or precision == "float32"
        ]
        caption = "One process each, the median of 15 repetitions."
        figures.append(_figure(title, bars(groups, title), caption))
    return _section("Ceilings", f'<div class="pair">{"".join(figures)}</div>')


def _counts(counts: list[dict[str, Any]]) -> str:
    table = _table("Counted for an H100, timed here", HEAD, map(cells, counts), 1)
    return _section("A step", table) if counts else ""


def _scaling(report: dict[str, Any]) -> str:
    rows = report["scaling"]
    if not rows:
        return ""
    virtual = report["platform"] == "cpu"
    drawn = []
    for r in rows:
        over = [100 * value for value in r["overhead_rounds"]]
        text = f"{100 * r['overhead']:+.1f} %"
        if not virtual:
            text += f", {r['images_per_second']:,.0f}/s, {r['efficiency']:.0%}"
        title = f"{WORDS[r['phase']]}, {r['devices']} devices, {r['scaling']}"
        drawn.append(Dot(title, 100 * r["overhead"], text, min(over), max(over)))
    kind = "virtual devices of one CPU" if virtual else "devices"
    title = f"Time that sharing out over {kind} adds, percent"
    caption = (
        "ResNet18, float32, against one device that does the same work; dot: median, "
        "line: range of rounds. Strong: one batch for all; weak: as much for each."
    )
    if not virtual:
        caption += " Behind it: images per second, and efficiency."
    chart = dots(drawn, title, 0.0, bounds_of(drawn))
    return _section("Scaling", _figure(title, chart, caption))


def _made(report: dict[str, Any]) -> str:
    machine, settings = report["machine"], report["settings"]
    cpu = ", ".join(f"{name} {text}" for name, text in machine["lscpu"].items())
    facts = {
        "Device": report["device"],
        "Processor": cpu,
        "Its features": " ".join(machine["features"]),
        "Memory": f"{machine['memory_bytes'] / 2**30:.0f} GiB",
        **{
            f"GPU {i}": ", ".join(gpu.values()) for i, gpu in enumerate(machine["gpus"])
        },
        "Versions": ", ".join(
            f"{name} {text}"
            for name, text in (report["versions"] or {}).items()
            if text
        ),
        "PyTorch": report["torch"],
        "Commit": report["commit"],
        "Settings": "; ".join(
            f"{name} {', '.join(value) if isinstance(value, list) else value}"
            for name, value in settings.items()
            if value is not None
        ),
        "Calls": "; ".join(
            f"{call['begun']}, load before {call['load']}, "
            f"{call.get('minutes', 0)} minutes"
            for call in report["calls"]
        ),
    }
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(text))}</dd>"
        for name, text in facts.items()
        if text
    )
    return _section("How it was made", f"<dl>{lines}</dl>")
