"""Writes the Python reference when the guide is built: `::: foveate.load` on a page becomes what its docstring says.

Signatures are the source's own text, so that shapes stand as they are written. mkdocs calls `on_page_markdown`.
"""

import ast
import html
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

DIRECTIVE = re.compile(r"^::: (foveate\.\w+)$", re.MULTILINE)
SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):$", re.MULTILINE)
TITLES = {"Args": "Parameters"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with every directive replaced by what it names."""
    return DIRECTIVE.sub(lambda found: reference(found[1]), markdown)


def reference(dotted: str) -> str:
    """Markdown of one public name: signature, docstring, and for a class its public methods."""
    module, _, name = dotted.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    if not inspect.isclass(thing):
        return f"{signature(_node(thing))}\n\n{prose(thing)}"
    tree = _node(thing)
    parts = [_fields(tree) if _is_settings(tree) else _constructor(thing, name), prose(thing)]
    parts += [f"#### {name}.{method}\n\n{text}" for method, text in methods(thing)]
    return "\n\n".join(part for part in parts if part)


def methods(cls: type) -> Iterator[tuple[str, str]]:
    """(name, Markdown) of the public methods and properties of a class and of its bases that are foveate's."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("foveate"):
            continue
        for node in _node(base).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.name in seen:
                continue
            marks = {ast.unparse(mark) for mark in node.decorator_list}
            doc = ast.get_docstring(node)
            if "overload" in marks or doc is None:
                continue
            seen.add(node.name)
            is_value = bool(marks & {"property", "cached_property"})
            yield node.name, f"{signature(node, is_value)}\n\n{sections(doc)}"


def signature(node: ast.FunctionDef, is_value: bool = False) -> str:
    """A function's own line, as code; of a property its name and type."""
    returns = "" if node.returns is None else ast.unparse(node.returns).strip("'\"")
    if is_value:
        return f"```python\n{node.name}: {returns}\n```"
    arguments = node.args
    for kept in (arguments.posonlyargs, arguments.args):
        if kept and kept[0].arg in ("self", "cls"):
            del kept[0]
    parts = [part.strip() for part in _split(ast.unparse(arguments))]
    line = f"{node.name}({', '.join(parts)})"
    if len(line) > 90:
        line = f"{node.name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"
    return f"```python\n{line}{f' -> {returns}' if returns else ''}\n```"


def prose(thing: Any) -> str:
    """The docstring of a function or class as Markdown."""
    return sections(inspect.getdoc(thing) or "")


def sections(doc: str) -> str:
    """A docstring in Google's style as Markdown: its sections become lists."""
    begin, *rest = SECTION.split(doc)
    parts = [_text(begin)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        body, _, after = body.partition("\n\n") if not body.startswith("\n\n") else (body, "", "")
        items = _items(textwrap.dedent(body.strip("\n")), title)
        parts += [f"**{TITLES.get(title, title)}**", "\n".join(items), _text(after)]
    return "\n\n".join(part for part in parts if part)


def _items(body: str, title: str) -> list[str]:
    """One bullet per entry; what goes on in deeper lines belongs to the entry above."""
    entries: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    if title in ("Returns", "Yields"):
        return [_text(" ".join(entries))]
    found = []
    for entry in entries:
        name, sign, text = entry.partition(":")
        found.append(f"- `{name}`: {_text(text.strip())}" if sign else f"- {_text(entry)}")
    return found


def _text(text: str) -> str:
    """Prose, in which `<` is a sign and no tag."""
    return re.sub(r"(?<!`)<(?!`)", html.escape("<"), text.strip())


def _split(arguments: str) -> list[str]:
    """Arguments at the commas that stand in no bracket and no text."""
    depth, quote, parts, begin = 0, "", [], 0
    for place, sign in enumerate(arguments):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(arguments[begin:place])
            begin = place + 1
    return [*parts, arguments[begin:]] if arguments else []


def _constructor(cls: type, name: str) -> str:
    functions = (node for node in _node(cls).body if isinstance(node, ast.FunctionDef))
    made = next((node for node in functions if node.name == "__init__"), None)
    if made is None:
        return ""
    made.returns = None
    return signature(made).replace("__init__(", f"{name}(", 1)


def _is_settings(tree: ast.ClassDef) -> bool:
    return any(ast.unparse(mark) == "settings" for mark in tree.decorator_list)


def _fields(tree: ast.ClassDef) -> str:
    """The settings of a class with their defaults."""
    lines = [ast.unparse(node) for node in tree.body if isinstance(node, ast.AnnAssign)]
    return "```python\n" + "\n".join(lines) + "\n```"


def _node(thing: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]
