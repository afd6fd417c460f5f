# Needs make and Python 3.11 or newer, nothing else: `make demo` and `make test` set up the rest.
.PHONY: demo run venv test browser check bench clean
.DEFAULT_GOAL := demo

BIN := .venv/bin
REQUIREMENTS := requirements.txt requirements-efs.txt requirements-dev.txt constraints.txt
STAMP := .venv/.requirements
SCAN := .local/scan
# PYTHON=/path/to/python3 names the Python to use; else the first of these that is new enough.
PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11)
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# The whole main job on a real radiograph, then stop. IMAGE=path posts another.
demo: $(STAMP)
	@$(BIN)/python -m admin_cli.local.demo $(if $(IMAGE),--image "$(IMAGE)")

# The service on this machine, until Ctrl-C.
run: $(STAMP)
	@exec $(BIN)/python -m admin_cli local up

# The environment alone, with .venv/bin/radgate in it.
venv: $(STAMP)

# Every test. One worker more than two cores: the end-to-end tests also wait.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 3

# A browser for the tests of the portal, which are skipped without one: Debian's, else Playwright's.
browser: $(STAMP)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet \
	    --no-install-recommends -o Acquire::Retries=3 chromium-headless-shell; \
	else $(BIN)/python -m playwright install --only-shell chromium; fi

# Format, lint, types, template. The tests hold the architecture.
check: $(STAMP) $(SCAN)/.requirements
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cfn-lint .chalice/foundation.yaml
	$(SCAN)/bin/checkov -f .chalice/foundation.yaml --framework cloudformation \
	  --compact --quiet --skip-download

# The policy scanner, apart from the project's own environment.
$(SCAN)/.requirements: requirements-scan.txt | $(STAMP)
	$(BIN)/python -m venv --clear $(SCAN)
	$(SCAN)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-scan.txt
	touch $@

# Figures; on top of the rest it installs what they are compared with.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r benchmarks/requirements.txt -c constraints.txt
	$(BIN)/python -m benchmarks

# The environment, caches and all local state.
clean:
	@if [ -x $(BIN)/python ] && [ -d .local ]; then $(BIN)/python -m admin_cli local down || true; fi
	rm -rf .venv .local .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist radgate.egg-info demo-report.pdf

# The stamp holds the checksum of the requirements and is written last: an installation that was
# cut short, or one for other requirements, is done again; a newer date alone changes nothing.
# A pyenv shim exists for every version and fails when run, so each candidate is tried.
$(STAMP): $(REQUIREMENTS)
	@sum=$$(cat $(REQUIREMENTS) | cksum); \
	if [ "$$(cat $@ 2>/dev/null)" = "$$sum" ] && $(BIN)/python -c '' 2>/dev/null; then touch $@; exit 0; fi; \
	python=; for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "Radgate needs Python 3.11 or newer with venv; tried: $(CANDIDATES). Set PYTHON=/path/to/python3." >&2; \
	  exit 1; fi; \
	echo "Setting up .venv with $$("$$python" -V); once, and torch is large"; \
	$(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null || "$$python" -m venv --clear .venv || exit 1; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-dev.txt -c constraints.txt || exit 1; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --no-build-isolation --editable . || exit 1; \
	echo "$$sum" > $@
