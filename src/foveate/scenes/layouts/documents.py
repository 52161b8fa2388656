"""Annotation files of every form read safely: one file, no other that it names; `BadInput` where it can't be read."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foveate.errors import BadInput, one_line
from foveate.scenes.layouts.names import is_file

MAX_BYTES = 2**30  # annotation files larger than this are refused
MAX_YAML_BYTES = 2**20


def load_json(path: str) -> Any:
    """What a JSON file holds."""
    content = read(path)
    with _as(path, "JSON"):
        return json.loads(content)


def load_xml(path: str) -> Any:
    """The root element of an XML file. Entities that it declares are refused, and nothing outside it is fetched."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    content = read(path)
    with _as(path, "XML", ParseError, LookupError):
        try:
            return fromstring(content)
        except DefusedXmlException:
            raise BadInput(f"{path}: it declares XML entities, which are not read") from None


def load_yaml(path: str) -> Any:
    """What a small YAML file holds: plain values only, no references."""
    import yaml

    class Plain(yaml.SafeLoader):
        """Without references, by which a few lines can stand for more than any memory holds."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("references are not read")
            return super().compose_node(parent, index)

    content = read(path, MAX_YAML_BYTES)
    with _as(path, "YAML", yaml.YAMLError, TypeError, OverflowError):
        return yaml.load(content, Plain)


def load_lines(path: str) -> list[str]:
    """The lines of a text file, in UTF-8, with or without a mark of byte order."""
    content = read(path)
    with _as(path, "text in UTF-8"):
        return content.decode("utf-8-sig").splitlines()


@contextmanager
def _as(path: str, form: str, *errors: type[Exception]) -> Iterator[None]:
    """What goes wrong in understanding a file as BadInput."""
    try:
        yield
    except BadInput:
        raise
    except (ValueError, RecursionError, *errors) as error:  # also numbers of thousands of digits
        told = "nested too deeply" if isinstance(error, RecursionError) else one_line(error)[:200]
        raise BadInput(f"{path}: not {form} ({told})") from None


def read(path: str, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most so many."""
    if not is_file(path):
        raise BadInput(f"{path}: not a file that can be read")
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > most:
                raise BadInput(f"{path}: {size / 1e6:.0f} MB are more than the limit of {most / 1e6:.0f} MB")
            return handle.read()
    except OSError as error:
        raise BadInput(f"{path}: {(error.strerror or str(error)).lower()}") from None
