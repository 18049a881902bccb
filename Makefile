# Two commands matter: make demo, make test. Everything they need they set up themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# What make puts aside between runs: Ansible's virtual environments.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gozer
export GOZER_CACHE := $(CACHE)
GO_FILES := $(shell git ls-files -co --exclude-standard '*.go' '*.py' go.mod go.sum '*.sql' 2>/dev/null)
UI_FILES := $(shell git ls-files -co --exclude-standard web ':!web/*.go' 2>/dev/null)

.PHONY: help
help: ## print this
	@printf 'Gozer: project gating and continuous deployment. Targets:\n\n'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@printf '\nVariables of demo: ONCE=1 stops at the end, FRESH=1 forgets an earlier one, DATA=folder.\n'

.PHONY: demo
demo: bin/gozer ansible ## a change is proposed, tested, gated, merged and deployed, before your eyes
	@bin/gozer demo $(if $(ONCE),--once) $(if $(DATA),--data $(DATA)) $(if $(FRESH),--fresh)

.PHONY: test
test: setup-test ui ansible ## every test (what CI runs)
	@cd web && npm test --silent -- --passWithNoTests
	@go vet ./...
	@go test -count=1 -timeout 40m ./...

.PHONY: check
check: ## the fast part, for before a commit
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'gofmt -w these files'; exit 1; }
	@go vet ./...
	@go test -short ./...

.PHONY: conformance
conformance: bin/gozer ## replay scenarios proven on a real Zuul (DIR=folder; ../shared/conformance if not given)
	@bin/gozer conformance $(or $(DIR),../shared/conformance)
SEEDS ?= 10000
FIRST ?= 1
# The crash sweep kills at one of so many transactions; 1 is all of them.
SWEEP ?= 11
.PHONY: simulate
simulate: ## SEEDS=N runs of the core with everything going wrong; SEED=N plays one and tells what happens
	@go test -count=1 -timeout 0 -v ./internal/gatetest/simulate -args $(if $(SEED),-seed $(SEED) -test.run Simulation,-seeds $(SEEDS) -first $(FIRST) -sweep $(SWEEP))

.PHONY: cluster
cluster: bin/gozer ## three schedulers, two of each other, a three-member etcd and PostgreSQL, on this machine
	@bin/gozer cluster

MINUTES ?= 5
.PHONY: chaos
chaos: bin/gozer ## such a cluster under load while its processes are killed and paused (MINUTES=5)
	@bin/gozer cluster chaos --for $(MINUTES)m

.PHONY: bench
bench: bin/gozer ansible ## measure, and print tables with their conditions
	@bin/gozer config bench --git
	@bin/gozer cluster failover
	@go test -run '^$$' -bench . -benchtime 2s ./internal/...

RUNS ?= 25000
.PHONY: properties
properties: ## random runs of the pipelines' state machine: RUNS for each of the four managers
	@GOGC=400 go test -count=1 -run 'TestProperties|TestSerialOracle' ./internal/pipeline -rapid.checks=$(RUNS)

.PHONY: build
build: bin/gozer ## the binary, in bin/

.PHONY: ui
ui: web/dist/index.html ## the web page, in web/dist/

.PHONY: ansible
ansible: bin/gozer ## Ansible's virtual environment, in the cache folder
	@bin/gozer ansible install --dir $(CACHE)/ansible

.PHONY: setup-run setup-test
setup-run:
	@scripts/setup run
setup-test:
	@scripts/setup test

web/node_modules/.made: web/package-lock.json | setup-run
	@echo 'npm ci (web)'
	@cd web && npm ci --silent --no-audit --no-fund
	@touch $@

web/dist/index.html: web/node_modules/.made $(UI_FILES)
	@echo 'building the page'
	@cd web && npm run --silent build

bin/gozer: $(GO_FILES) web/dist/index.html | setup-run
	@echo 'building gozer'
	@go build -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/gozer

.PHONY: clean
clean: ## remove what was built here
	@rm -rf bin web/dist web/node_modules
