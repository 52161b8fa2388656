"""A card for a model that is passed on."""

from collections.abc import Mapping
from typing import Any

import jinja2

from foveate.report.charts import part


def model_card(
    config: Mapping[str, Any],
    localization: Mapping[str, Mapping[str, Any]] | None = None,
    bound: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """A card (Mitchell et al. 2019) for the folder of a model: what it is, of what, how good, and what it can't do.

    Markdown with the front matter that model hubs read, of the RUN's configuration and of figures of `evaluate
    localization` and `bound` by the name of what they were measured on. Only what is known is written.
    """
    told = {name: value for name, value in config.items() if isinstance(value, str | int | float) and value != ""}
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.ChainableUndefined
    )
    environment.filters.update(line=_line, known=_known)
    card = environment.from_string(part("card.md"))
    kind = config.get("category") or "object"
    return card.render(kind=kind, known=told, localization=localization, bound=bound)


def _known(value: Any, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "not known"


def _line(value: Any) -> str:
    """A word of someone else's as part of a Markdown line: no line breaks, cells, code or tags begin in it."""
    text = " ".join(str(value).split())
    return text.replace("`", "'").replace("|", "/").replace("<", "&lt;").replace(">", "&gt;")
