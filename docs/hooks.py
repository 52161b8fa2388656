"""What mkdocs does while it builds the guide: formulas become MathML, notebooks become pages. No request, no script.

A formula stands between lines of `$$` in LaTeX, as code hosts show it too; the rows of `gathered` are typeset one below
the other. A notebook's page shows its cells and the outputs that were kept in it.
"""

import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

FORMULA = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
GATHERED = re.compile(r"\\begin\{gathered\}\n(.*)\n\\end\{gathered\}", re.DOTALL)
ROW = re.compile(r" \\\\\n")
LONG = 105  # characters of LaTeX, of which more don't fit beside each other
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
BLANK = re.compile(r"\n\s*(?=\n|<)")
SHOWN = 4000  # characters of an output


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with its formulas typeset."""
    return FORMULA.sub(lambda found: typeset(found[1]), markdown)


def typeset(latex: str) -> str:
    """One formula, or several rows of them, as MathML in a box that scrolls where the screen is narrow."""
    gathered = GATHERED.fullmatch(latex)
    rows = ROW.split(gathered[1]) if gathered else [latex]
    rows = [part for row in rows for part in (row.split(r", \qquad ") if len(row) > LONG else [row])]
    typeset_rows = "".join(convert(row, display="block") for row in rows)
    spaced = re.sub(
        r"<(m[io])>(log|exp)</\1>(?!<mo[^>]*>&#x00028;)", r'<\1>\2</\1><mspace width=".17em"/>', typeset_rows
    )
    return f'<div class="formula">{spaced}</div>'


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """A page for each notebook; the notebook itself can be downloaded from it."""
    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        cells = json.loads(Path(file.abs_src_path or "").read_text(encoding="utf-8"))["cells"]
        page = f"notebooks/{Path(file.src_uri).stem}.md"
        text = "\n\n".join(map(_cell, cells)) + f"\n\n[Download this notebook]({Path(file.src_uri).name})\n"
        files.append(File.generated(config, page, content=text))
    return files


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    parts = [f"```python\n{source}\n```"]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        picture = next((kind for kind in ("image/jpeg", "image/png") if kind in data), None)
        if picture is not None:
            pixels = "".join(data[picture]).replace("\n", "")
            parts.append(f'<img class="output" alt="Output of the cell above" src="data:{picture};base64,{pixels}">')
        elif "text/html" in data:
            parts.append(BLANK.sub("", STYLE.sub("", "".join(data["text/html"]))))
        elif text := "".join(output.get("text", data.get("text/plain", ""))):
            parts.append(f"```text\n{text[:SHOWN].rstrip()}\n```")
    return "\n\n".join(parts)
