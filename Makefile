# Everything starts here, on a Debian (12 or newer) with nothing else installed:
#   make demo   see a switch, a refused release and a rollback
#   make test   all tests          make lint   style and types
#   make bench  the numbers        make clean  remove what make made
#   make install, make uninstall   (root) reld and relctl in /usr/local/bin, a systemd unit
# Debian packages are installed only where they are missing; the venv only when its inputs change.

# Debian's own Python, whatever else is first in PATH: systemd-python is built against it.
PYTHON := /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.complete

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint bench clean install uninstall

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n 1,6p

venv: $(STAMP)

# One line for each need: a test that is true when it is met, and the package that meets it.
define INSTALL_PACKAGES
missing=; \
[ -x /usr/sbin/nginx ]                              || missing="$$missing nginx"; \
command -v gcc >/dev/null                           || missing="$$missing gcc libc6-dev"; \
command -v openssl >/dev/null                       || missing="$$missing openssl"; \
pkg-config --version >/dev/null 2>&1                || missing="$$missing pkg-config"; \
pkg-config --exists libsystemd >/dev/null 2>&1      || missing="$$missing libsystemd-dev"; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null   || missing="$$missing python3 python3-venv"; \
$(PYTHON) -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
	2>/dev/null                                     || missing="$$missing python3-dev"; \
if [ -n "$$missing" ]; then \
	if [ "$$(id -u)" = 0 ]; then run=env; \
	elif command -v sudo >/dev/null; then run="sudo env"; \
	else echo "cannot install:$$missing: not root and no sudo; as root: apt-get install$$missing" >&2; exit 1; fi; \
	echo "installing Debian packages:$$missing"; \
	$$run DEBIAN_FRONTEND=noninteractive apt-get -qq update; \
	$$run DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $$missing; \
	case "$$missing" in *nginx*) \
		if [ -d /run/systemd/system ]; then $$run systemctl disable --quiet --now nginx || true; fi;; \
	esac; \
fi
endef

# nginx that was installed a moment ago is wanted for its binary only: its service is switched off.
# Built packages see the locked build tools (no build isolation), so hashes cover them too.
$(STAMP): pyproject.toml requirements/build.txt requirements/dev.txt
	@set -e; $(INSTALL_PACKAGES)
	@rm -f $@
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip --disable-pip-version-check -q install --require-hashes -r requirements/build.txt
	$(BIN)/pip --disable-pip-version-check -q install --require-hashes --no-build-isolation -r requirements/dev.txt
	$(BIN)/pip --disable-pip-version-check -q install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m tests.bench.demo

test: $(STAMP)
	$(BIN)/python -m pytest tests/unit tests/property tests/sim tests/contract tests/integration tests/crash

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m tests.bench

# Debian's own libraries, so that their security fixes arrive by apt; a venv only keeps us apart.
PREFIX := /opt/relctl
install: $(STAMP)
	@[ "$$(id -u)" = 0 ] || { echo "cannot install: not root; sudo make install" >&2; exit 1; }
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends \
		python3-psutil python3-aiohttp python3-systemd python3-click
	rm -rf build/wheel
	$(BIN)/pip --disable-pip-version-check -q wheel --no-deps --no-build-isolation -w build/wheel .
	$(PYTHON) -m venv --clear --system-site-packages $(PREFIX)
	$(PREFIX)/bin/pip --disable-pip-version-check -q install --no-deps --no-index build/wheel/*.whl
	ln -sf $(PREFIX)/bin/reld $(PREFIX)/bin/relctl /usr/local/bin/
	groupadd --system --force relctl
	install -d -m 755 /etc/relctl
	install -D -m 644 systemd/reld@.service /etc/systemd/system/reld@.service
	@[ ! -d /run/systemd/system ] || systemctl daemon-reload
	@echo "write /etc/relctl/APP.toml, then: systemctl enable --now reld@APP"

# An app and a gate that run go on running; configs and state stay: /etc/relctl, /var/lib/relctl.
uninstall:
	rm -rf $(PREFIX)
	rm -f /usr/local/bin/reld /usr/local/bin/relctl /etc/systemd/system/reld@.service

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
