"""The forms a comparison takes: text for readers, rows for programs. All are bytes in UTF-8, but for Parquet's own."""

import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from robusteval.core.errors import InputError, nearest
from robusteval.reporting import tables
from robusteval.reporting.compare.grids import Grid, Shown, grids, long
from robusteval.reporting.compare.notes import notes
from robusteval.reporting.compare.table import Comparison

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        ".md": "markdown",
        ".tex": "latex",
        ".csv": "csv",
        ".parquet": "parquet",
        ".html": "html",
        ".json": "json",
        ".txt": "terminal",
    }
)
"""The form that a file name asks for."""

_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


def rendered(comparison: Comparison, form: str, intervals: bool = False) -> bytes:
    """The comparison in one of the forms.

    Raises:
        InputError: there is no such form.
    """
    forms: dict[str, Callable[[Comparison, bool], bytes]] = {
        "terminal": _markdown,
        "markdown": _markdown,
        "latex": _latex,
        "html": _html,
        "csv": lambda comparison, _: long(comparison).to_csv(index=False).encode(),
        "parquet": _parquet,
        "json": _json,
    }
    if form not in forms:
        raise InputError(f"format={form!r}: {nearest(form, forms)}")
    return forms[form](comparison, intervals)


def _markdown(comparison: Comparison, intervals: bool) -> bytes:
    parts = [_markdown_grid(grid) for grid in grids(comparison, intervals)]
    remarks = "\n".join(f"- {remark}" for remark in notes(comparison, intervals))
    return "\n\n".join([*parts, remarks, ""]).encode()


def _markdown_grid(grid: Grid) -> str:
    sides = {"best": "**", "tied": "_", "": ""}
    rows = [[f"{sides[cell.mark]}{_piped(cell.text)}{sides[cell.mark]}" for cell in line] for line in grid.body]
    lines = [list(map(_piped, grid.head)), ["---", *["---:"] * (len(grid.head) - 1)], *rows]
    title = [f"{grid.title}:", ""] if grid.title else []
    return "\n".join([*title, *(f"| {' | '.join(line)} |" for line in lines)])


def _piped(text: str) -> str:
    """The text with what would end a cell, or start emphasis, escaped."""
    for character in "|*":
        text = text.replace(character, f"\\{character}")
    return text


def _latex(comparison: Comparison, intervals: bool) -> bytes:
    """One tabular per table, for the package booktabs, with the notes as comments."""
    lines = [f"% {remark}" for remark in notes(comparison, intervals)]
    for grid in grids(comparison, intervals):
        lines += [f"% {grid.title}"] if grid.title else []
        head = " & ".join(map(_tex, grid.head)) + r" \\"
        body = [" & ".join(map(_tex_cell, line)) + r" \\" for line in grid.body]
        columns = "l" + "r" * (len(grid.head) - 1)
        lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
        lines += [r"\end{tabular}", ""]
    return "\n".join(lines).encode()


def _tex(text: str) -> str:
    """The text as LaTeX prints it, with minus signs; a bracket at its start would be read as an option of the row."""
    escaped = _MINUS.sub("$-$", tables.escaped(text))
    return f"{{{escaped}}}" if escaped.startswith("[") else escaped


def _tex_cell(cell: Shown) -> str:
    command = {"best": r"\textbf", "tied": r"\textit", "": ""}[cell.mark]
    return f"{command}{{{_tex(cell.text)}}}" if command else _tex(cell.text)


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid; vertical-align: bottom; white-space: normal; }
tbody tr:nth-child(even) { background: #8881; }
li { max-width: 70rem; margin: .2rem 0; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for grid in grids %}
{% if grid.title %}<h2>{{ grid.title }}</h2>{% endif %}
<div><table>
<thead><tr>{% for name in grid.head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in grid.body %}<tr>{% for cell in line %}<td>
{%- if cell.mark == "best" %}<strong>{{ cell.text }}</strong>
{%- elif cell.mark == "tied" %}<em>{{ cell.text }}</em>
{%- else %}{{ cell.text }}{% endif -%}
</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% endfor %}
<ul>
{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>
</body>
</html>
"""


def _html(comparison: Comparison, intervals: bool) -> bytes:
    """One page that needs no other file."""
    from jinja2 import Environment

    names = ", ".join(record.name for record in comparison.pool.terms)
    template = Environment(autoescape=True).from_string(_PAGE)
    page = template.render(
        title=f"Comparison: {names}", grids=grids(comparison, intervals), notes=notes(comparison, intervals)
    )
    return page.encode()


def _parquet(comparison: Comparison, _: bool) -> bytes:
    file = io.BytesIO()
    long(comparison).to_parquet(file, index=False)
    return file.getvalue()


def _json(comparison: Comparison, intervals: bool) -> bytes:
    """The long rows, with null for what is not a number, the baseline and the notes."""
    rows = [_jsonable(row) for row in long(comparison).astype(object).to_dict("records")]
    found = {"baseline": comparison.baseline, "rows": rows, "notes": notes(comparison, intervals)}
    return (json.dumps(found, indent=1, allow_nan=False) + "\n").encode()


def _jsonable(row: Mapping[object, object]) -> dict[str, object]:
    return {str(key): _finite(value) for key, value in row.items()}


def _finite(value: object) -> object:
    if isinstance(value, bool | str | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def text_of(comparison: Comparison, intervals: bool = False) -> tuple[Sequence[Grid], Sequence[str]]:
    """The tables and the notes, for a terminal that prints them itself."""
    return grids(comparison, intervals), notes(comparison, intervals)
