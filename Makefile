# What there is to do with killfeed. CI calls `lint` and `test`; nothing here needs more than cargo,
# Python 3 (for the reader that isn't ours), Java and Maven (for a real Kafka), Go (for MinIO),
# PostgreSQL's server (for the outbox), Node and Chromium (for the SDK of web games and the dashboard), and
# a network to fetch dependencies once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PYTHON ?= python3
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
READER := $(TARGET)/reader-venv
WEB := ingest/web
PAGES := dashboard/browser
# The server that the tests of the web SDK and of the dashboard talk to.
KILLFEED_BIN ?= $(abspath $(TARGET))/debug/killfeed
SECONDS ?= 300
SEED ?= 1

.PHONY: help demo test web pages lint bench chaos real deploy-check reader kafka s3 toxiproxy postgres chromium

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## Start killfeed, play fifty games, print every report and the audit; end with the dashboard
	@deploy/dev/demo

test: reader kafka s3 toxiproxy postgres ## All tests; the ten slowest parts at the end
	@$(CARGO) test --workspace 2>&1 | deploy/dev/slowest
	@$(MAKE) --no-print-directory web pages

web: $(WEB)/node_modules/.package-lock.json chromium ## The SDK for web games: built, checked, tested under Node and in Chromium
	@test -x "$(KILLFEED_BIN)" || { echo "error: $(KILLFEED_BIN) is missing; cargo build makes it" >&2; exit 1; }
	@cd $(WEB) && npm run --silent build && npm run --silent lint && \
	KILLFEED_BIN="$(abspath $(KILLFEED_BIN))" CHROMIUM="$$(../../deploy/dev/chromium/fetch)" npm test --silent

pages: $(PAGES)/node_modules/.package-lock.json chromium ## The dashboard: every page in Chromium, at two widths, in light and dark, with axe
	@test -x "$(KILLFEED_BIN)" || { echo "error: $(KILLFEED_BIN) is missing; cargo build makes it" >&2; exit 1; }
	@cd $(PAGES) && KILLFEED_BIN="$(abspath $(KILLFEED_BIN))" CHROMIUM="$$(../../deploy/dev/chromium/fetch)" npm test --silent

lint: ## Format, clippy without a warning; the checks of tests/tidy.rs run with the tests
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: reader postgres ## Each stage against its limit, in release
	@$(CARGO) build --release --package killfeed --package benches --bins
	@$(TARGET)/release/benches
	@$(CARGO) bench --package toxicity
	@$(CARGO) bench --package killfeed-client
	@$(CARGO) test --release --package outbox --test outbox throughput -- --ignored --nocapture

# A tenth of the time each for the embedded log and for `killfeed up`, the rest for the fleet. Everything is
# named together with a test, so that it shares its dependencies with `make test`.
chaos: reader kafka s3 toxiproxy ## Break one thing after another for SECONDS in all, as SEED chooses; count what came of it
	@$(CARGO) build --workspace --bin killfeed --bin chaos --test pipeline --test log
	@export KILLFEED_CHAOS_SECONDS=$$(($(SECONDS) / 10)) KILLFEED_CHAOS_SEED=$(SEED); \
	$(CARGO) test --workspace --test log crash:: -- --nocapture --test-threads 1; \
	$(CARGO) test --workspace --test pipeline kills:: -- --nocapture --test-threads 1
	@$(TARGET)/debug/chaos --seconds $$(($(SECONDS) * 8 / 10)) --seed $(SEED)
	@$(TARGET)/debug/killfeed simulate --seed $(SEED)000 --for $$(($(SECONDS) / 10 + 1))s

real: ## Send the real data in DATA twice, and check the answers
	@test -n "$(DATA)" || { echo "error: say where the data is: make real DATA=DIR" >&2; exit 2; }
	@DATA="$(DATA)" deploy/dev/real

deploy-check: ## What is in deploy/ against schemas and linters; fetches and builds them once
	@DEPLOY_TOOLS=$(TARGET)/deploy-tools deploy/check

reader: $(READER)/ready

# The log's tests run on a real one. Fetched once, and kept beside what cargo builds.
kafka:
	@KAFKA_HOME=$(TARGET)/kafka deploy/dev/kafka/fetch >/dev/null

# The store that speaks S3; built once, which takes minutes, and kept there too.
s3:
	@S3_HOME=$(TARGET)/s3 deploy/dev/s3/fetch >/dev/null

# Stands between processes where a test cuts them off from each other.
toxiproxy:
	@TOXIPROXY_HOME=$(TARGET)/toxiproxy deploy/dev/toxiproxy/fetch >/dev/null

# A game's own database, for the outbox. Installed by apt where it is missing and we are root.
postgres:
	@deploy/dev/postgres/fetch >/dev/null

# A real browser; installed where that may be done.
chromium:
	@deploy/dev/chromium/fetch >/dev/null

%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@command -v npm >/dev/null || { echo "error: npm is missing; Node 20 or newer tests the SDK for web games and the dashboard" >&2; exit 1; }
	@cd $* && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# A reader of Delta tables that isn't ours. `ready` is made last, so that a broken download is tried again.
$(READER)/ready: tests/readers/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing; tests read the tables with it" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(READER)
	@$(READER)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
