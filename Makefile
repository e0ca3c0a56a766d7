# make demo    see the whole way, offline, in under a minute
# make test    all that CI runs: lint, types, contracts, tests against real servers
# make check   lint, types and import contracts alone
# make crash   every kill, error and power cut at a system call, which takes hours; make test tries a sample of them
# make bench   the benchmarks; results go to bench/RESULTS.md by hand, with the machine
#
# Needs Python 3.10 or newer and make; everything else is installed into .venv and, for the tests, from Debian.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo test check crash bench clean servers

demo: $(VENV)/installed
	$(BIN)/g3m demo

# The tests in tests/netlab need root and network namespaces: elsewhere they are left out with a word, but never by CI.
test: check $(VENV)/tested servers
	@left_out=; if ! strace -qq -o /dev/null true 2>/dev/null; then \
	  if [ "$${CI:-}" = true ]; then echo "tests/crash cannot run: it needs strace"; exit 1; fi; \
	  echo "tests/crash is left out: it needs Linux and strace"; left_out="--ignore tests/crash"; fi; \
	if ! why=$$($(BIN)/python -m tests.netlab.usable); then \
	  if [ "$${CI:-}" = true ]; then echo "tests/netlab cannot run: it $$why"; exit 1; fi; \
	  echo "tests/netlab is left out: it $$why"; left_out="$$left_out --ignore tests/netlab"; fi; \
	folder=$$(mktemp -d); \
	$(BIN)/python -m pytest $$left_out --basetemp $$folder/g3m; code=$$?; rm -rf $$folder; exit $$code

crash: $(VENV)/tested servers
	G3M_CRASH=all $(BIN)/python -m pytest tests/crash -rP

check: $(VENV)/checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

bench: $(VENV)/tested .cache/bench/installed .cache/bench-gather/installed .cache/bench-view/installed
	$(BIN)/python bench/pack.py
	$(BIN)/python bench/verify.py
	$(BIN)/python bench/resize.py
	$(BIN)/python bench/start.py
	$(BIN)/python bench/fetch.py
	$(BIN)/python bench/stream.py
	$(BIN)/python bench/index.py
	$(BIN)/python bench/decode.py
	$(BIN)/python bench/load.py
	$(BIN)/python bench/lists.py
	$(BIN)/python bench/gather.py --tune
	$(BIN)/python -m bench.cluster
	$(BIN)/python bench/view.py

# By hand, because what it compares with takes 3.5 GB: $(BIN)/python bench/neighbours.py

# What bench/fetch.py compares with, beside the aria2, curl, wget, nginx and openssl of the system.
.cache/bench/installed: bench/peers.txt $(VENV)/created
	$(PYTHON) -m venv .cache/bench
	.cache/bench/bin/python -m pip --disable-pip-version-check install --quiet --requirement bench/peers.txt
	touch $@

# What bench/gather.py compares with, apart from all others because of its many packages.
.cache/bench-gather/installed: bench/gather_peers.txt $(VENV)/created
	$(PYTHON) -m venv .cache/bench-gather
	.cache/bench-gather/bin/python -m pip --disable-pip-version-check install --quiet --requirement bench/gather_peers.txt
	touch $@

# What bench/view.py compares with.
.cache/bench-view/installed: bench/view_peers.txt $(VENV)/created
	$(PYTHON) -m venv .cache/bench-view
	.cache/bench-view/bin/python -m pip --disable-pip-version-check install --quiet --requirement bench/view_peers.txt
	touch $@

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

# The tests run real servers. As root on Debian what is missing is installed here; elsewhere nginx alone is needed.
servers: $(VENV)/tested
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$($(BIN)/python -m tests.netlab.usable packages); \
	  test -z "$$missing" || sh tests/netlab/install.sh $$missing || echo "could not install all of: $$missing"; fi
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { \
	  echo "make test needs nginx: install your system's package nginx-light (or nginx)"; exit 1; }
	@command -v chromium >/dev/null || { echo "make test needs a browser: install your system's package chromium"; exit 1; }

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
