"""The house's walls: imports point downwards only, modules form no circle, densities and scenes never meet."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
ROOMS = (
    "api cli serve demo report learning evaluation training attention boltzmann scenes storage runtime errors".split()
)
"""From the top down: a room imports from itself and from those after it."""
NEVER_MEET = {("boltzmann", "scenes"), ("scenes", "boltzmann")}
DOORS = {"foveate", "foveate.__main__"}  # what a user imports or runs; names of every room, fetched when they are used

MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def imported(module: str) -> Iterator[str]:
    """Modules of foveate that a module names in an import, wherever in its text."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name in MODULES:
                yield name
            elif (parent := name.rpartition(".")[0]) in MODULES:
                yield parent


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(set(MODULES) - DOORS))
def test_a_module_imports_from_its_own_room_and_from_those_below(module):
    assert room(module) in ROOMS
    for other in set(imported(module)) - {"foveate"}:
        assert ROOMS.index(room(other)) >= ROOMS.index(room(module)), f"{module} imports {other}, from above"
        assert (room(module), room(other)) not in NEVER_MEET, f"{module} imports {other}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: set(imported(module)) - {module} for module in MODULES if module not in DOORS}
    while free := [module for module, others in graph.items() if not others & graph.keys()]:
        for module in free:
            del graph[module]
    assert not graph, f"in or above a circle: {sorted(graph)}"


def test_files_and_folders_stay_small():
    for path in MODULES.values():
        assert len(path.read_text().splitlines()) <= 300, path
    for folder in {path.parent for path in MODULES.values()}:
        files = [path for path in folder.iterdir() if path.is_file() and path.name != "__init__.py"]
        assert len(files) <= 17, f"{folder} holds {len(files)} files"
