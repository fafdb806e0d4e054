# The daily jobs. `make demo` and `make test` need nothing but Rust and this file: what is missing they install, where
# they may, or name.

# One target directory outside the tree: RocksDB (10 to 15 minutes of compiling) is built once, for all checkouts.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/dynode/target

# What RocksDB's build needs on Debian and Ubuntu beside Rust: a C++ compiler, and libclang for its bindings; and curl and
# Redis' clients, with which the README's examples are tested.
PACKAGES = g++ make clang libclang-dev curl redis-tools

CARGO = cargo
BIN = $(CARGO_TARGET_DIR)/release

.PHONY: help setup build demo chaos grow test lint doc bench figures sync-cost scale sim fuzz openapi redis-py console-test

help:
	@echo 'make demo    three nodes, real files, a kill -9, everything read back   (DIR=folder: import that instead)'
	@echo 'make chaos   two minutes of kills, pauses, splits, slow links, a full disk (ARGS="--seed 7 --network netns")'
	@echo 'make grow    five nodes under load grow to eight, lose one, shrink to three (ARGS="--kill")'
	@echo 'make test    all tests'
	@echo 'make lint    formatting, Clippy, documentation: no warnings'
	@echo 'make bench   speed of three nodes beside bare RocksDB'
	@echo 'make figures the ring: balance, movement, planning time; liveness: detection, mistakes, cost'
	@echo 'make sync-cost  what it costs to bring a copy up to date, a million keys (some minutes, 5 GB)'
	@echo 'make scale   what joins, leaves, a lost rack and a rolling restart cost with 100 and 1,000 nodes (3 GB; NODES=100: half a minute)'
	@echo 'make sim     20,000 simulated runs                                     (SEEDS=A..B)'
	@echo 'make openapi the HTTP interface against its own description (schemathesis; needs python3-venv and PyPI)'
	@echo 'make redis-py  redis-py on a cluster (needs python3-venv and PyPI)'
	@echo 'make console-test  the console in a headless Chromium, with screenshots (needs chromium, node, npm)'
	@echo 'make fuzz    every decoder on a million hostile inputs (needs cargo-fuzz and a nightly toolchain)'
	@echo 'make build   the daemon, its command line and the load generator, in $(BIN)'

setup:
	@command -v $(CARGO) >/dev/null || { echo 'Rust is missing: install it with rustup, then try again.'; exit 1; }
	@if command -v c++ >/dev/null && command -v clang >/dev/null && command -v curl >/dev/null && command -v redis-cli >/dev/null \
	  && ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo 'installing $(PACKAGES)'; apt-get update -qq && apt-get install -y -qq $(PACKAGES) >/dev/null; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
	  echo 'installing $(PACKAGES)'; sudo apt-get update -qq && sudo apt-get install -y -qq $(PACKAGES) >/dev/null; \
	else \
	  echo 'What is built and tested here needs: $(PACKAGES). Install them (on Debian and Ubuntu:'; \
	  echo '  sudo apt-get install $(PACKAGES)), then try again.'; exit 1; \
	fi

build: setup
	@[ -d $(CARGO_TARGET_DIR)/release/build ] || echo 'the first build compiles RocksDB: 10 to 15 minutes on two cores'
	$(CARGO) build --release --locked -p dynode -p dynode-bench

demo: build
	$(CARGO) build --release --locked -p tests --bin demo
	$(BIN)/demo $(if $(DIR),'$(DIR)')

chaos: build
	$(CARGO) build --release --locked -p tests --bin dynode-chaos
	$(BIN)/dynode-chaos --duration 2m --svg $(CARGO_TARGET_DIR)/chaos.svg $(ARGS)

grow: build
	$(CARGO) build --release --locked -p tests --bin dynode-chaos
	$(BIN)/dynode-chaos grow $(ARGS)

# The pure crates first: they say in a minute what is wrong. `tests` is built on its own, with the switches that break
# the protocol for the mutation checks, and drives the daemon built above as a process.
test: build
	$(CARGO) test --release --locked -p dynode-ring -p dynode-client
	$(CARGO) test --release --locked -p dynode-storage -p dynode -p dynode-bench --features dynode-storage/rocksdb
	$(CARGO) test --release --locked -p dynode-storage --features mutations
	DYNODE_BIN=$(BIN)/dynode $(CARGO) test --release --locked -p tests

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --exclude tests --all-targets -- -D warnings
	$(CARGO) clippy --release --locked -p dynode-storage --all-targets --features rocksdb,mutations -- -D warnings
	$(CARGO) clippy --release --locked -p tests --all-targets --features rocksdb -- -D warnings

doc: setup
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --release --locked --no-deps --workspace --exclude tests

bench: build
	$(CARGO) build --release --locked -p tests --bin speed --features rocksdb
	$(BIN)/speed

figures:
	$(CARGO) bench --locked -p dynode-ring --bench figures
	$(CARGO) bench --locked -p dynode --no-default-features --bench liveness

sync-cost:
	$(CARGO) build --release --locked -p tests --bin sync_cost
	$(BIN)/sync_cost

scale:
	$(CARGO) build --release --locked -p tests --bin scale
	$(BIN)/scale --nodes $(or $(NODES),100,1000)

sim:
	$(CARGO) run --release --locked -p tests --bin sim -- --seeds $(or $(SEEDS),0..20000)

openapi: build
	tests/openapi.sh

redis-py: build
	tests/redis_py.sh

console-test: build
	tests/console.sh

fuzz:
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
	  cargo +nightly fuzz run $$target -- -runs=1000000 -max_len=4096 || exit 1; done
