# make demo    see the whole way, offline, in under a minute
# make test    all that CI runs: lint, types, contracts, tests against real servers
# make check   lint, types and import contracts alone
# make bench   the benchmarks; results go to bench/RESULTS.md by hand, with the machine
#
# Needs Python 3.10 or newer and make; everything else is installed into .venv and, for the tests, from Debian.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo test check bench clean servers

demo: $(VENV)/installed
	$(BIN)/g3m demo

test: check $(VENV)/tested servers
	folder=$$(mktemp -d); $(BIN)/python -m pytest --basetemp $$folder/g3m; code=$$?; rm -rf $$folder; exit $$code

check: $(VENV)/checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

bench: $(VENV)/tested
	$(BIN)/python bench/pack.py
	$(BIN)/python bench/start.py

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml constraints.txt
	$(INSTALL) --editable .
	touch $@

$(VENV)/checked: $(VENV)/installed
	$(INSTALL) --group check
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(INSTALL) --group test
	touch $@

# The tests run a real nginx. As root on Debian it is installed here; elsewhere say what is missing.
servers:
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light openssl >/dev/null; \
	  else echo "make test needs nginx: install your system's package nginx-light (or nginx)"; exit 1; fi; }

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
