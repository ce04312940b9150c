# `make demo` and `make test` do all of their own set-up; nothing else is needed on a machine with Python >= 3.11.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NATIVE := src/flota/envoy/native

.PHONY: manifests native demo test check golden bench nightly rig cluster test-rig conformance conformance-fast requirements clean

demo: $(READY)
	@$(BIN)/flota demo

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check src tests bench rig conformance install conftest.py
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: $(READY)
	$(BIN)/python -m pytest tests/golden --rewrite-golden

# Everything that takes too long for each change.
nightly: rig
	$(BIN)/python -m pytest --slow --timeout 900
	@$(MAKE) --no-print-directory conformance

bench: $(READY)
	$(BIN)/python -m bench

# Real Kubernetes clusters on this machine, until Ctrl-C: `make cluster CLUSTERS=us,eu`; with nodes that run pods: `NODES=1` (root).
CLUSTERS ?= rig
NODES ?= 0
cluster: $(READY)
	@$(BIN)/python -m rig up --clusters $(CLUSTERS) --nodes $(NODES) --publish

# Builds what `make cluster` runs, once per version, and brings the network tools that nodes need.
rig: $(READY)
	@command -v nft >/dev/null && command -v ip >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq nftables iproute2 >/dev/null; } || echo "no nft or ip: clusters run, nodes do not"
	@$(BIN)/python -m rig build

# What `make test` skips where nothing is built yet.
test-rig: rig
	RIG=required $(BIN)/python -m pytest -m rig

# The official Gateway API suite on a fresh cluster; raw events and the suite's report are left in build/conformance. Root.
conformance: rig
	@$(BIN)/python -m conformance

conformance-fast: rig
	@$(BIN)/python -m conformance --fast

# What a cluster is given: resource definitions from the code, plain manifests from the chart. Helm is built once, from its Go module.
HELM_VERSION := v3.22.0
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flota/tools
KUBE_VERSION := 1.36.0
HELM := $(TOOLS)/helm-$(HELM_VERSION)
$(HELM):
	@mkdir -p $(TOOLS); GOBIN=$(TOOLS)/build nice go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION) && mv $(TOOLS)/build/helm $@

manifests: $(READY) $(HELM)
	@$(BIN)/python -m install.crds
	@$(HELM) lint --quiet --kube-version $(KUBE_VERSION) install/chart
	@{ printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: flota-system\n'; \
	   $(HELM) template flota install/chart --namespace flota-system --include-crds --kube-version $(KUBE_VERSION); } > install/flota.yaml

# The environment is rebuilt only when what it is made from changes.
$(READY): requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || { $(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(VENV); }; } || \
	  { echo "Flota needs python3 (3.11 or newer) with its venv module."; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src/flota  # else each command compiles it anew where PYTHONDONTWRITEBYTECODE is set
	@$(MAKE) --no-print-directory native
	@touch $@

# The scope key module, with a digest in its name: Envoy never loads the same path twice. Without a compiler Flota does without it.
native:
	@mkdir -p $(NATIVE); name=libscope_key-$$(sha256sum native/scope_key.c | cut -c1-12)-$$(uname -m).so; \
	test -e $(NATIVE)/$$name || { cc=$$(command -v gcc || command -v cc); \
	  if [ -n "$$cc" ] && $$cc -O2 -fPIC -shared -Wall -Wextra -o $(NATIVE)/.$$name native/scope_key.c; then \
	    rm -f $(NATIVE)/libscope_key-*; mv $(NATIVE)/.$$name $(NATIVE)/$$name; \
	  else echo "no C compiler: the scope key is computed by configuration (about 5 us more per request)"; fi; }

# Pins with hashes and without hosts; run after changing pyproject.toml.
requirements: 
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev requirements/build.in pyproject.toml -o requirements/dev.txt
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/build.in pyproject.toml -c requirements/dev.txt -o requirements/run.txt

clean:
	rm -rf $(VENV) build dist
