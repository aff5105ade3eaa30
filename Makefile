# make demo    see it work            make test     everything that must be green
# make lint    the quick half of it   make torture  hours of it      make bench    how fast

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
INPUTS := pyproject.toml constraints.txt pipeline/__init__.py

.DELETE_ON_ERROR:
.PHONY: demo test test-alone test-together lint torture bench clean

demo: $(VENV)/installed
	$(BIN)/pop3connector demo

# Half of the tests wait for servers and processes most of the time: the other half runs beside them.
test: lint
	$(MAKE) --jobs 2 --output-sync test-alone test-together

test-alone: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/unit tests/docs

test-together: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/acceptance tests/integration tests/kill tests/packaging tests/real

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: $(VENV)/installed-torture
	$(BIN)/python -m pytest -m torture --timeout 0

bench: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m bench --timeout 0 --capture no

clean:
	rm -rf $(VENV) build dist .coverage* htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find pipeline stages spool tests -name __pycache__ -type d -exec rm -rf {} +

# hatchling first, and no build isolation: so that it too comes at its pinned version.
$(VENV)/installed: $(BIN)/python $(INPUTS)
	$(PIP) install --constraint constraints.txt hatchling editables
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

$(VENV)/installed-torture: $(VENV)/installed-dev
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable '.[torture]'
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "No virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }
