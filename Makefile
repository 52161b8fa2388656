# make install   .venv with foveate, the demo's data and the tools of development
# make demo      the whole story on scenes that it makes itself; names a page to open
# make test      every test, in WORKERS processes (2)
# make test-all  those, and what is slow: notebooks, round trips with other tools, long fuzzing
# make lint      style and types
# make docs      the guide, as pages in site/
# make paper     the paper's experiments on digits, as one page; FULL=1 with three seeds and the whole training,
#                FACES=folder with a folder's annotated photographs too
# make bench     every benchmark, one table each; QUICK=1 with the smallest sizes

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: install demo test test-all lint docs paper bench

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,dev]'
	touch $@

demo: install
	$(BIN)/foveate demo --out demo

test: install
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

test-all: install
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,dev,slow]'
	FOVEATE_TESTS_CHECK=all $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m 'slow or not slow' --hypothesis-profile long

lint: install
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/basedpyright

docs: install
	$(BIN)/mkdocs build --strict --quiet

paper: install
	$(BIN)/python benchmarks/paper.py paper $(if $(FULL),--full) $(if $(FACES),--faces '$(FACES)')

bench: install
	$(BIN)/python benchmarks/collect.py $(if $(QUICK),--quick)
