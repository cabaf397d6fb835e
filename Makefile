# What can be made. `make` alone lists it: the comment after ## is a target's line.

PLUGIN_NAME ?= logspool
PLUGIN_TAG  ?= latest
ARCH        ?= $(shell go env GOARCH)
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME    ?= 20s

PLUGIN := $(PLUGIN_NAME):$(PLUGIN_TAG)
BINARY := bin/linux-$(ARCH)/logspool
GO     := CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go

.PHONY: help demo test test-long e2e fault benchlogs fuzz lint build rootfs plugin enable disable push clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Settings: PLUGIN_NAME=$(PLUGIN_NAME) PLUGIN_TAG=$(PLUGIN_TAG) ARCH=$(ARCH) (amd64, arm64) FUZZTIME=$(FUZZTIME)'

# The demo's program is the process of its containers as well, so it is static, too.
demo: rootfs ## the plugin at work, with a real Docker engine where one answers; leaves nothing behind
	@$(GO) build -trimpath -buildvcs=false -o bin/linux-$(ARCH)/demo ./cmd/demo
	@bin/linux-$(ARCH)/demo -binary $(BINARY) -plugin plugin

test: ## the tests that need no Docker engine, without the long ones; with LOGSPOOL_E2E=required e2e as well
	@scripts/test

test-long: ## the long tests, which make test leaves out
	@scripts/test long

e2e: ## the tests with a real Docker engine and the installed plugin (as root)
	@scripts/e2e

# It is the process of its containers as well, so it is static, too.
fault: rootfs ## the fault matrix: what becomes of every line on bad days; WRITE=1: into docs/reliability.md
	@$(GO) build -trimpath -buildvcs=false -o bin/linux-$(ARCH)/fault ./cmd/fault
	@bin/linux-$(ARCH)/fault -binary $(BINARY) -plugin plugin $(if $(WRITE),-write docs/reliability.md) $(FAULT)

benchlogs: ## what docker logs costs, with a real Docker engine (as root); WRITE=1: into docs/docker-logs.md
	@go test -v -tags e2e -count 1 -timeout 60m ./e2e -run TestMeasureDockerLogs -args -measure all $(if $(WRITE),-write)

fuzz: ## each fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

lint: ## gofmt, go vet, staticcheck, govulncheck
	@scripts/lint

# Static, so that the root file system needs nothing else, and the same bytes from the same source.
build: ## the plugin's binary for linux/ARCH, in bin/
	@$(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) .
	@echo 'built $(BINARY), version $(VERSION)'

rootfs: build ## what `docker plugin create` takes, in plugin/
	@scripts/rootfs $(BINARY)

plugin: rootfs ## the plugin in the local Docker engine; replaces a disabled one that has delivered everything, or with FORCE=1 any
	@scripts/plugin create $(PLUGIN)

enable: ## enable the plugin
	@scripts/plugin enable $(PLUGIN)

disable: ## disable the plugin
	@scripts/plugin disable $(PLUGIN)

push: ## the plugin to a registry of your own: PLUGIN_NAME=registry.example.com/logspool
	@scripts/plugin push $(PLUGIN)

clean: ## remove bin/ and plugin/
	@rm -rf bin plugin
