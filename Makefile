# Everything from a fresh clone: `make demo` and `make test` set up .venv by themselves.
# `make test PYTHON=python3.13 VENV=.venv-3.13`: another Python, in an environment of its own.
PYTHON ?= $(shell command -v python3.11 || command -v python3.13 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo setup setup-dev test test-oldest test-slow test-many test-device test-gpu coverage lint zoo benchmark soak dist
.PHONY: constraints clean docs

demo: setup
	$(BIN)/autoprune run experiments/digits.yaml

setup: $(VENV)/.installed

setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and 'AutoPrune needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11')"
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (PyTorch is large: a few minutes) ..."
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[rl,dashboard]'
	$(BIN)/python -c "from autoprune.nni import bridge; bridge.register()"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# SlipCover counts the lines that the tests run in their own process, at hardly any cost. It changes bytecode while it runs:
# a task's losses are left out, for cached networks go by their code.
test: setup-dev lint
	$(BIN)/python -m slipcover --source autoprune --omit 'autoprune/task/*' --skip-covered --missing-width 40 -m pytest \
		-n 2 --dist worksteal --durations 10 -m "not slow"

# On the oldest versions that pyproject.toml allows, with Python 3.11, in an environment of their own.
test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/pytest -n 2 --dist worksteal --durations 10 -m "not slow"

.venv-oldest/.installed: pyproject.toml
	python3.11 -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check uv
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct --editable '.[dev]'
	.venv-oldest/bin/python -c "from autoprune.nni import bridge; bridge.register()"
	touch $@

test-slow: setup-dev
	$(BIN)/pytest -m slow

# 5,000 trials in one search, whose manager may open 200 files: some 20 minutes.
test-many: setup-dev
	AUTOPRUNE_TEST_TRIALS=5000 $(BIN)/pytest -m slow -k many_trials tests/nni/test_bridge_descriptors.py

# On a second device in ordinary memory, which is built first: a tensor left on the CPU raises there.
test-device: setup-dev
	$(BIN)/pytest -m slow tests/device

# The same on the accelerator that PyTorch sees; skipped where it sees none.
test-gpu: setup-dev
	AUTOPRUNE_TEST_DEVICE=auto $(BIN)/pytest -m slow -rs tests/device

# The lines that `make test` runs, in this process and in those that it starts.
coverage: setup-dev
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow" --cov --cov-report=term:skip-covered

benchmark: setup-dev
	$(BIN)/python experiments/benchmark/run.py
	$(BIN)/python experiments/benchmark/analyse.py

# Kills every part of real searches, 100 times at random moments, and counts what is lost.
soak: setup-dev
	$(BIN)/python experiments/soak.py

zoo: setup-dev
	$(BIN)/python experiments/zoo.py

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# The documentation as a site: open site/index.html. A link that leads nowhere ends it.
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A wheel and a source distribution.
dist: setup-dev
	$(BIN)/python -m build

# The versions that are installed now, and that the next `make setup` installs.
constraints: setup-dev
	{ head -2 constraints.txt; $(BIN)/pip freeze --all --exclude-editable | grep -v ^pip=; } > constraints.new && mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-* outputs build dist site *.egg-info
