# Every target makes what it needs: an environment in .venv, and for the tests a browser, tmux, npm and databases where there is none.
.PHONY: serve test check clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

serve: $(VENV)/installed
	@$(BIN)/chatkit serve $(ARGS) || test $$? = 130  # Ctrl-C is how it ends

# Six at a time on two cores: most tests wait for servers most of the time. The order is that of tests/conftest.py.
# Bytecode is always written: without it, every process compiles everything.
test: $(VENV)/developing programs node_modules
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 6 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/developing node_modules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@rm -rf build/tree && mkdir -p build/tree/chatkit && \
	  for part in chatkit/* cli static; do ln -s ../../../$$part build/tree/chatkit; done
	cd build/tree && MYPYPATH=.:../../tests/support ../../$(BIN)/mypy --config-file ../../pyproject.toml -p chatkit
	cd build/tree && MYPYPATH=.:../../tests/support ../../$(BIN)/mypy --config-file ../../pyproject.toml ../../tests ../../examples ../../docs
	cd build/tree && PYTHONPATH=. ../../$(BIN)/lint-imports --no-logo ../../pyproject.toml
	npx --no-install tsc --noEmit

clean:
	rm -rf $(VENV) node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: pyproject.toml
	@echo "Making an environment in $(VENV) (once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "chatkit needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/developing: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

node_modules: package.json
	@npm install --silent --no-audit --no-fund
	@touch $@

# The page is tested in Debian's Chromium without a user interface, the terminal client in tmux, the WebSocket protocol
# with a client on Node, which npm brings along, the backends with servers of their own, and examples/deploy behind
# nginx. Elsewhere, install them yourself.
.PHONY: programs
programs:
	@missing=; PATH="$$PATH:/usr/sbin"; for program in chromium-headless-shell tmux nginx npm openssl redis-server; do \
	  command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	command -v initdb >/dev/null || test -n "$$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" || missing="$$missing postgresql"; \
	test -z "$$missing" || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null || { \
	    echo "The tests need programs that are missing: install them (on Debian: apt-get install$$missing)" >&2; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null; }
