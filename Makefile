# make demo    see the whole way, offline, in under a minute
# make test    all that CI runs: lint, types, contracts, tests against real servers
# make check   lint, types, import contracts and rules of our own alone
# make crash   every kill, error and power cut at a system call, which takes hours; make test tries a sample of them
# make fuzz    every parser for a minute under a fuzzer that follows branches (FUZZ_SECONDS=300: longer)
# make mutate  small faults in core that the tests must notice (MODULES="weburl limits", SAMPLE=500); hours if all
# make soak    an hour of everything at once over a failing network (SECONDS=600: less); make test does it in small
# make bench   the benchmarks; results go to bench/RESULTS.md by hand, with the machine
# make lock    requirements/ anew, after a change of the dependencies in pyproject.toml
# make dist    what is released: archive and wheel of the last commit, built twice and compared
# make sbom    the same, and the list of its parts
#
# Needs Python 3.10 or newer and make; everything else is installed into .venv and, for the tests, from Debian. Only
# wheels whose digests stand in requirements/ are installed, from whatever index pip is set to use; torch alone goes
# by its version, as requirements/torch.txt explains.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := install --quiet --require-hashes --only-binary :all:
INSTALL := $(PIP) $(LOCKED)

.PHONY: demo test check crash mutate fuzz soak bench lock dist sbom clean servers

demo: $(VENV)/installed
	$(BIN)/g3m demo

# The tests in tests/netlab and tests/soak need root and network namespaces: elsewhere they are left out with a word, but never by CI.
test: check $(VENV)/tested servers
	@left_out=; if ! strace -qq -o /dev/null true 2>/dev/null; then \
	  if [ "$${CI:-}" = true ]; then echo "tests/crash cannot run: it needs strace"; exit 1; fi; \
	  echo "tests/crash is left out: it needs Linux and strace"; left_out="--ignore tests/crash"; fi; \
	if ! why=$$($(BIN)/python -m tests.netlab.usable); then \
	  if [ "$${CI:-}" = true ]; then echo "tests/netlab and tests/soak cannot run: the lab $$why"; exit 1; fi; \
	  echo "tests/netlab and tests/soak are left out: the lab $$why"; left_out="$$left_out --ignore tests/netlab --ignore tests/soak"; fi; \
	if ! why=$$($(BIN)/python -m tests.machine.mounts); then \
	  if [ "$${CI:-}" = true ]; then echo "tests/machine/test_disks.py cannot run: it $$why"; exit 1; fi; \
	  echo "tests/machine/test_disks.py is left out: it $$why"; \
	  left_out="$$left_out --ignore tests/machine/test_disks.py"; fi; \
	folder=$$(mktemp -d); \
	$(BIN)/python -m pytest $$left_out --basetemp $$folder/g3m; code=$$?; rm -rf $$folder; exit $$code

crash: $(VENV)/tested servers
	G3M_CRASH=all $(BIN)/python -m pytest tests/crash -rP

mutate: $(VENV)/tested
	$(BIN)/python -m tests.mutation $(if $(SAMPLE),--sample $(SAMPLE)) $(MODULES)

FUZZ_SECONDS ?= 60

# The fuzzer has wheels for Linux on x86-64 and Python 3.11 to 3.13.
fuzz: $(VENV)/tested requirements/fuzz.txt
	$(INSTALL) --requirement requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

SECONDS ?= 3600

soak: $(VENV)/tested servers
	$(BIN)/python -m tests.soak.soak --seconds $(SECONDS)

check: $(VENV)/checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.rules
	$(BIN)/python docs/generate.py --check

bench: $(VENV)/tested .cache/bench/installed .cache/bench-gather/installed .cache/bench-view/installed .cache/bench-attacks/installed
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
	$(BIN)/python -m bench.attacks

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

# What bench/attacks compares with, beside what fetch and gather have.
.cache/bench-attacks/installed: bench/attacks_peers.txt $(VENV)/created
	$(PYTHON) -m venv .cache/bench-attacks
	.cache/bench-attacks/bin/python -m pip --disable-pip-version-check install --quiet --requirement bench/attacks_peers.txt
	touch $@

# What bench/view.py compares with.
.cache/bench-view/installed: bench/view_peers.txt $(VENV)/created
	$(PYTHON) -m venv .cache/bench-view
	.cache/bench-view/bin/python -m pip --disable-pip-version-check install --quiet --requirement bench/view_peers.txt
	touch $@

$(VENV)/created: requirements/build.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --requirement requirements/build.txt
	touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml requirements/g3m.txt
	$(INSTALL) --requirement requirements/g3m.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/checked: $(VENV)/installed requirements/check.txt
	$(INSTALL) --requirement requirements/check.txt
	touch $@

$(VENV)/tested: $(VENV)/installed requirements/test.txt requirements/torch.txt
	$(INSTALL) --requirement requirements/test.txt
	$(PIP) install --quiet --only-binary :all: --requirement requirements/torch.txt
	touch $@

$(VENV)/releasing: $(VENV)/installed requirements/release.txt
	$(INSTALL) --requirement requirements/release.txt
	touch $@

lock: $(VENV)/releasing
	$(BIN)/python -m tools.lock

dist: $(VENV)/releasing
	$(BIN)/python -m tools.release

# From an environment that holds the wheel and what it needs, and nothing else.
sbom: dist
	$(PYTHON) -m venv --clear --without-pip .cache/sbom
	$(PIP) --python .cache/sbom $(LOCKED) --requirement requirements/g3m.txt
	$(PIP) --python .cache/sbom install --quiet --no-deps dist/*.whl
	$(BIN)/python -m tools.sbom .cache/sbom

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
