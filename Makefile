# Everything starts here, on a Debian (12 or newer) with nothing else installed:
#   make demo   see a switch, a refused release, one that goes back by itself, and a rollback
#   make test   the tests          make crash  (root) kill, freeze, fill and damage everything
#   make lint   style and types
#   make bench  the numbers        make clean  remove what make made
#   make deb    the Debian package, in dist/
#   make test-vm   (root) the package in booted machines; SUITES="bookworm trixie noble" with Ubuntu 24.04
#   make test-page   (root) the dashboard in a headless Chromium; says where its pictures are
#   make test-stacks   (root) the how-tos of packaging/doc, under load; STACKS="django" is one of them
#   make test-monitoring   metrics, alert rules and dashboard, judged by promtool
#   make collection   the Ansible collection, in dist/      make test-ansible   ansible-test's sanity of it
# Debian packages are installed only where they are missing; the venv only when its inputs change.

# Debian's own Python, whatever else is first in PATH: systemd-python is built against it.
PYTHON := /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.complete

.DEFAULT_GOAL := help
.PHONY: help venv demo test crash lint bench clean deb test-page test-vm test-stacks test-monitoring \
	collection test-ansible

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n 1,12p

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

# $(call APT_INSTALL,PACKAGES)
define APT_INSTALL
if [ "$$(id -u)" = 0 ]; then run=env; \
elif command -v sudo >/dev/null; then run="sudo env"; \
else echo "cannot install:$(1): not root and no sudo; as root: apt-get install$(1)" >&2; exit 1; fi; \
echo "installing Debian packages:$(1)"; \
$$run DEBIAN_FRONTEND=noninteractive apt-get -qq update; \
$$run DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $(1) >/dev/null
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

# They wait more than they work: two files at a time take half as long on two cores.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/property tests/sim tests/contract tests/integration

# Small file systems are mounted, limits lowered and pids chosen: some of it needs root.
# CRASH="reld_killed parts_killed" are some of it.
CRASH := $(patsubst tests/crash/test_%.py,%,$(wildcard tests/crash/test_*.py))

crash: $(STAMP)
	@[ "$$(id -u)" = 0 ] || { echo "cannot break everything: not root; sudo make crash" >&2; exit 1; }
	$(BIN)/python -m pytest $(CRASH:%=tests/crash/test_%.py)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m tests.bench

# The tree stays as it is: built elsewhere, with Debian's Python (another one first in PATH has no
# build tools), and the tests are not part of it.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DEB     := dist/relctl_$(VERSION)_all.deb
SOURCES := LICENSE README.md ctl daemon packaging pyproject.toml systemd
DEBIAN_PATH := PATH=/usr/sbin:/usr/bin:/sbin:/bin

deb:
	@set -e; missing=; for package in build-essential debhelper dh-python pybuild-plugin-pyproject \
		python3-all python3-click python3-hatchling lintian; do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed' || \
			missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then $(call APT_INSTALL,$$missing); fi; \
	[ "$$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)" = "$(VERSION)" ] || { \
		echo "cannot build: packaging/debian/changelog is not about $(VERSION) of pyproject.toml" >&2; exit 1; }; \
	place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; \
	mkdir -p "$$place/relctl-$(VERSION)" dist; \
	tar --exclude=__pycache__ -cf - $(SOURCES) | tar -C "$$place/relctl-$(VERSION)" -xf -; \
	cd "$$place/relctl-$(VERSION)"; cp -r packaging/debian debian; \
	$(DEBIAN_PATH) dpkg-buildpackage -us -uc -b >"$$place/log" 2>&1 || { cat "$$place/log" >&2; exit 1; }; \
	$(DEBIAN_PATH) lintian --fail-on error,warning "$$place"/*.changes; \
	mv "$$place"/*.deb "$(CURDIR)/dist/"
	@echo "$(DEB)"

# Debian 12 and 13 (noble: Ubuntu 24.04) with systemd as PID 1 and sshd, in seconds and without KVM. Their
# roots are built once (some minutes, the network) and kept outside the tree: tests/vm/roots.py.
SUITES := bookworm trixie

# $(call BOOT_TOOLS,PACKAGES): what boots machines, and these.
define BOOT_TOOLS
[ "$$(id -u)" = 0 ] || { echo "cannot boot machines: not root; sudo make $@" >&2; exit 1; }; \
set -e; missing=; for package in mmdebstrap squashfs-tools systemd-container iproute2 \
	openssh-client $(1); do \
	dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q ' installed' || \
		missing="$$missing $$package"; \
done; \
if [ -n "$$missing" ]; then $(call APT_INSTALL,$$missing); fi
endef

test-vm: $(STAMP) deb
	@$(call BOOT_TOOLS,man-db)
	$(BIN)/python -m tests.vm.roots $(SUITES) $(SUITES:%=%-tester) $(SUITES:%=%-controller) $(if $(BUILD),trixie-builder)
	@$(MAKE) --no-print-directory -k -j$(BOXES) -O $(BUILD) \
		$(foreach suite,$(SUITES),$(FILES:%=vm-$(suite)-%))

# Boxes wait more than they work: so many at a time. FILES="gate reboot" are some of the tests;
# test_build has its own suite.
BOXES := 4
BUILD := vm-trixie-build
FILES := $(filter-out build,$(patsubst tests/vm/test_%.py,%,$(wildcard tests/vm/test_*.py)))

# vm-SUITE-FILE: one file of tests on one suite.
vm-%:
	@RELCTL_VM_SUITES=$(firstword $(subst -, ,$*)) $(BIN)/python -m pytest -p no:cacheprovider -q \
		--durations=3 tests/vm/test_$(lastword $(subst -, ,$*)).py

# packaging/doc/*.md, followed word for word under load. STACKS="django fastapi" are some of them.
STACKS := $(patsubst tests/stacks/test_stack_%.py,%,$(wildcard tests/stacks/test_stack_*.py))
SIDE_BY_SIDE := 2
# (Debian 13 has no ruby-sprockets-rails.)
STACKED = $(filter-out trixie-ruby,$(foreach suite,$(SUITES),$(STACKS:%=$(suite)-%)))

test-stacks: $(STAMP) deb
	@$(call BOOT_TOOLS,patch $(if $(shell command -v npm),,npm))
	$(BIN)/python -m tests.vm.roots $(STACKED)
	@$(MAKE) --no-print-directory -k -j$(SIDE_BY_SIDE) -O $(STACKED:%=stack-%)

# stack-SUITE-NAME: one how-to on one suite.
stack-%:
	@RELCTL_VM_SUITES=$(firstword $(subst -, ,$*)) $(BIN)/python -m pytest -p no:cacheprovider -q \
		tests/stacks/test_stack_$(lastword $(subst -, ,$*)).py

# The dashboard, with rollouts going on under load. Its pictures stay, for people to look at.
test-page: $(STAMP)
	@[ "$$(id -u)" = 0 ] || { echo "cannot look as other users: not root; sudo make test-page" >&2; exit 1; }
	@if ! command -v chromium >/dev/null; then $(call APT_INSTALL, chromium); fi
	@pictures=$$(mktemp -d -t relctl-pictures-XXXXXX); ended=0; \
	RELCTL_PICTURES="$$pictures" $(BIN)/python -m pytest -p no:cacheprovider tests/page || ended=$$?; \
	echo "pictures: $$pictures"; exit $$ended

# promtool judges the scrape of a real reld, the alert rules and every query of the dashboard. It comes out
# of Debian's package without installing that: nothing is started here.
PROMTOOL := build/monitoring/usr/bin/promtool

test-monitoring: $(STAMP) $(PROMTOOL)
	$(PROMTOOL) check rules packaging/monitoring/alerts.yml
	$(PROMTOOL) test rules packaging/monitoring/alerts.test.yml
	PROMTOOL=$(CURDIR)/$(PROMTOOL) $(BIN)/python -m tests.monitoring

$(PROMTOOL):
	@mkdir -p build/monitoring
	@set -e; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; cd "$$place"; \
	apt-get -qq -o APT::Sandbox::User=root download prometheus || { echo "cannot fetch Debian's package prometheus: apt-get update" >&2; exit 1; }; \
	dpkg-deb --extract prometheus_*.deb "$(CURDIR)/build/monitoring"

# The Ansible collection, to be installed by `ansible-galaxy collection install`.
COLLECTION := dist/relctl-relctl-$(VERSION).tar.gz

collection: $(STAMP)
	@set -e; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; mkdir -p dist; \
	tar --exclude=__pycache__ -C packaging -cf - ansible | tar -C "$$place" -xf -; cp LICENSE "$$place/ansible/"; \
	$(BIN)/ansible-galaxy collection build --force --output-path dist "$$place/ansible" >/dev/null
	@echo "$(COLLECTION)"

# ansible-test's sanity by the ansible-core of Debian 12 and of Debian 13. The older one needs Python 3.11.
CORES := 2.14.18 2.19.4

test-ansible: $(STAMP)
	$(BIN)/python -m tests.ansible_sanity build/ansible $(CORES)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
