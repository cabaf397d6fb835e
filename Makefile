# `make` lists the targets: ##@ begins a group, and the text after ## is a target's line.

PLUGIN_NAME ?= logspool
PLUGIN_TAG  ?= latest
ARCH        ?= $(shell go env GOARCH)
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME    ?= 20s

PLUGIN := $(PLUGIN_NAME):$(PLUGIN_TAG)
BINARY := bin/linux-$(ARCH)/logspool
GO     := CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go
# A program that is also the process of its containers is static, because their image has
# nothing else. $(TOOL) builds the command of the target.
TOOL    = $(GO) build -trimpath -buildvcs=false -o bin/linux-$(ARCH)/$@ ./cmd/$@
BENCH_TOOL = $(GO) build -trimpath -buildvcs=false -o bin/linux-$(ARCH)/bench ./bench
YARDSTICK  = $(GO) build -trimpath -buildvcs=false -o bin/linux-$(ARCH)/yardstick ./bench/yardstick
BENCH_RUN  = bin/linux-$(ARCH)/bench -binary $(BINARY) -plugin plugin -yardstick bin/linux-$(ARCH)/yardstick

.PHONY: release push-release help demo test test-long e2e fault bench bench-quick bench-plots benchlogs benchstatus scale fuzz lint build rootfs plugin enable disable push clean
.DEFAULT_GOAL := help

help:
	@awk -F ':.*## ' '/^##@ / { printf "%s%s:\n", sep, substr($$0, 5); sep = "\n" } \
		/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Settings: PLUGIN_NAME=$(PLUGIN_NAME) PLUGIN_TAG=$(PLUGIN_TAG) ARCH=$(ARCH) (amd64, arm64) FUZZTIME=$(FUZZTIME)'

##@ Try it

demo: rootfs ## see the plugin work, with a Docker engine if one answers; removes everything it makes
	@$(TOOL)
	@bin/linux-$(ARCH)/demo -binary $(BINARY) -plugin plugin

##@ Test

test: ## run the tests that need no Docker engine; with LOGSPOOL_E2E=required also make e2e
	@scripts/test

test-long: ## run the long tests, which make test skips
	@scripts/test long

e2e: ## test the installed plugin with a real Docker engine (as root)
	@scripts/e2e

fuzz: ## run each fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

##@ Measure

fault: rootfs ## run the fault matrix, which counts every line; FAULT=flags; WRITE=1 updates docs/reliability.md
	@$(TOOL)
	@bin/linux-$(ARCH)/fault -binary $(BINARY) -plugin plugin $(if $(WRITE),-write docs/reliability.md) $(FAULT)

bench: rootfs ## compare the plugin's costs with its targets and with other drivers, in 30 minutes (as root, with dockerd); updates docs/performance.md; BENCH=flags
	@$(BENCH_TOOL)
	@$(YARDSTICK)
	@$(BENCH_RUN) -write docs/performance.md $(BENCH) rows

bench-quick: rootfs ## the same in two minutes, with less certain figures; updates nothing; BENCH=flags
	@$(BENCH_TOOL)
	@$(YARDSTICK)
	@$(BENCH_RUN) -scale 0.1 -turns 1 $(BENCH) rows

bench-plots: rootfs ## draw the charts of docs/performance.md, in 35 minutes; BENCH=flags
	@$(BENCH_TOOL)
	@$(YARDSTICK)
	@$(BENCH_RUN) -images docs/images $(BENCH) plots

benchlogs: ## measure docker logs with a real Docker engine (as root); WRITE=1 updates docs/docker-logs.md
	@go test -v -tags e2e -count 1 -timeout 60m ./e2e -run TestMeasureDockerLogs -args -measure all $(if $(WRITE),-write)

benchstatus: build ## measure what reading the status costs; BASE=commit compares; BENCH=flags; WRITE=1 updates docs/metrics.md
	@$(BENCH_TOOL)
	@$(if $(BASE),scripts/build-commit $(BASE) bin/linux-$(ARCH)/logspool-base)
	@bin/linux-$(ARCH)/bench -binary $(BINARY) $(if $(BASE),-base bin/linux-$(ARCH)/logspool-base) $(if $(WRITE),-write docs/metrics.md) $(BENCH) status

scale: ## simulate a fleet of 10,000 hosts against the quotas of an account, in minutes; WRITE=1 updates docs/scale.md
	@go test -v -count 1 -timeout 60m ./internal/scaletest -run 'TestScale|TestSettings' -args -full $(if $(WRITE),-write)

##@ Build and install

# The binary is static, because the plugin's root file system has nothing else. The same
# source builds the same bytes.
build: ## build the plugin's binary for linux/ARCH in bin/
	@$(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) .
	@echo 'built $(BINARY), version $(VERSION)'

rootfs: build ## make the directory plugin/ for docker plugin create
	@scripts/rootfs $(BINARY)

plugin: rootfs ## create the plugin in the local Docker engine; FORCE=1 replaces one that has undelivered lines
	@scripts/plugin create $(PLUGIN)

enable: ## enable the plugin
	@scripts/plugin enable $(PLUGIN)

disable: ## disable the plugin
	@scripts/plugin disable $(PLUGIN)

push: ## push the plugin to your own registry: PLUGIN_NAME=registry.example.com/logspool
	@scripts/plugin push $(PLUGIN)

release: ## make the tarballs, checksums and SBOMs of VERSION in dist/
	@scripts/release '$(VERSION)'

push-release: rootfs ## push this build to a registry without keeping it: PLUGIN_NAME=… PLUGIN_TAG=… ARCH=…
	@scripts/plugin create $(PLUGIN)
	@scripts/plugin push $(PLUGIN)
	@docker plugin rm $(PLUGIN) >/dev/null

##@ Maintain

lint: ## run gofmt, go vet, staticcheck and govulncheck
	@scripts/lint

clean: ## remove bin/ and plugin/
	@rm -rf bin plugin
