# The whole of it: `make demo` shows Centaur at work, `make test` checks everything, `make serve` starts it for use.
# Each target installs what it needs by itself; a second run finds it done.

.DEFAULT_GOAL := help
.PHONY: help tools build release lint unit fuzz fuzz-check conformance test chaos demo rolling-restart serve bench clean

PYTEST := .venv/bin/python -m pytest
# How many conformance tests run at once. They wait for processes more than they compute.
CONFORMANCE_JOBS ?= 3
# How long `make fuzz` looks at each target, in seconds.
CENTAUR_FUZZ_SECONDS ?= 60

help:
	@echo 'make demo         a real Codex CLI drives a session on a server with a scripted model'
	@echo 'make rolling-restart  the server is replaced under a Codex and a Claude Code at work'
	@echo 'make serve        the server, for use: a provider key set, the real models; else the scripted one'
	@echo 'make test         lint, unit tests, conformance tests with the real clients'
	@echo 'make build        a debug build (.build/debug/centaur)'
	@echo 'make lint unit conformance   the parts of make test'
	@echo 'make fuzz         libFuzzer on whatever reads foreign bytes (CENTAUR_FUZZ_SECONDS for each of fourteen targets, default 60)'
	@echo 'make chaos        servers, gateways and sandboxes killed under real clients (CENTAUR_CHAOS_ROUNDS, CENTAUR_CHAOS_SEED)'
	@echo 'make bench        what it costs, measured (release build)'
	@echo 'make clean        removes what was built and installed into this folder'

tools:
	@tools/install-debian-packages
	@tools/install-python-environment

build: tools
	@tools/swift-build

release: tools
	@tools/swift-build -c release --product centaur
	@tools/swift-build -c release --product centaur-shim
	@tools/swift-build -c release --product centaur-stand-in-model

lint: tools
	swift format lint --strict --parallel --configuration .swift-format --recursive Package.swift Sources Tests fuzz

unit: tools
	@tools/swift-build --build-tests
	swift test --skip-build

fuzz: tools
	@tools/swift-build --build-tests
	@tools/fuzz --seconds $(CENTAUR_FUZZ_SECONDS)

# The same inputs in every run, few enough for each change.
fuzz-check: tools
	@tools/swift-build --build-tests
	@tools/fuzz --runs 2000 --seconds 20

conformance: build
	$(PYTEST) conformance -n $(CONFORMANCE_JOBS)

test: tools
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory fuzz-check
	@$(MAKE) --no-print-directory conformance

chaos: build
	@.venv/bin/python conformance/chaos.py

demo: build
	@.venv/bin/python tools/demo

rolling-restart: build
	@.venv/bin/python tools/rolling-restart

serve: build
	@tools/serve

bench: release
	@.venv/bin/python bench/run.py

clean:
	rm -rf .build .venv .cache bench/results conformance/.pytest_cache .pytest_cache
	find conformance tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
