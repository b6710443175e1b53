# Two commands are all a newcomer types: make demo, make test.
SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
GO_NEEDED := 1.26
BIN       := $(CURDIR)/bin
TOOLS     := $(CURDIR)/.cache/tools
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS   := -s -w -X main.version=$(VERSION)
PLUGINS   := $(wildcard plugins/*/*/main.go)
LINT      := $(TOOLS)/golangci-lint
LINT_VERSION := v2.15.0
CROSS     := linux/386 linux/arm64 freebsd/amd64 darwin/arm64
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
# What needs cgo stands behind a tag for its library, set where pkg-config finds
# it.
comma  := ,
empty  :=
TAGS   ?= $(subst $(empty) ,$(comma),$(strip $(foreach lib,luajit libpcap libndpi,$(shell pkg-config --exists $(lib) 2>/dev/null && echo $(lib:libndpi=ndpi)))))
# The tests' own limit: a hanging test fails here, with its stack, not in CI's.
TESTFLAGS ?= -race -timeout 25m

.PHONY: help
help: go-version ## list the targets
	@echo "FastNetMon $(VERSION)"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: go-version
go-version:
	@command -v $(GO) >/dev/null || { echo "Go is not installed (or not in PATH): install Go $(GO_NEEDED) or newer from the Go project's download page."; exit 1; }
	@have=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//'); \
	if [ "$$(printf '%s\n%s\n' '$(GO_NEEDED)' "$$have" | sort -V | head -n 1)" != '$(GO_NEEDED)' ]; then \
		echo "Go $(GO_NEEDED) or newer is needed, this is Go $${have:-of unknown version} ($$(command -v $(GO)))."; \
		echo "Debian 12's own golang package is too old: install Go from the Go project's download page to /usr/local/go and put /usr/local/go/bin first in PATH."; \
		exit 1; \
	fi

.PHONY: build
build: go-version ## build bin/fastnetmon and the plugins in bin/plugins
	@mkdir -p $(BIN)/plugins
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/fastnetmon ./core/cmd/fastnetmon
	@for main in $(PLUGINS); do \
		dir=$$(dirname $$main); kind=$$(basename $$(dirname $$dir)); name=$$(basename $$dir); \
		cgo=0; for tag in $(subst $(comma), ,$(TAGS)); do if grep -qs "^//go:build $$tag" $$dir/*.go; then cgo=1; fi; done; \
		needs=$$(sed -n 's,^//go:build \([a-z]*\)$$,\1,p' $$main); \
		if [ -n "$$needs" ] && [ $$cgo = 0 ]; then \
			echo "not building $$kind-$$name: pkg-config finds no library for $$needs"; \
			rm -f $(BIN)/plugins/$$kind-$$name; \
			echo "left out when this was built, since pkg-config found no library for $$needs: see $$dir/README.md" >$(BIN)/plugins/$$kind-$$name.missing; \
			continue; \
		fi; \
		rm -f $(BIN)/plugins/$$kind-$$name.missing; \
		echo "building $$kind-$$name"; \
		CGO_ENABLED=$$cgo $(GO) build -tags "$(TAGS)" -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/plugins/$$kind-$$name ./$$dir; \
	done

.PHONY: demo
demo: build ## build, then show an attack being detected, in under a minute
	$(BIN)/fastnetmon demo

.PHONY: quick
quick: lint ## lint and unit tests, no servers: under three minutes
	$(GO) test -short ./...

.PHONY: test
test: go-version ## install what the tests need, then run them all, race detector on
	.ci/install
	CGO_ENABLED=1 $(GO) test -tags "$(TAGS)" $(TESTFLAGS) ./...
	@# What attacks were called: of the corpus; of the generated kinds and the real captures.
	@$(GO) test -count=1 -run '^TestCorpusLabels$$' -v ./core/cmd/fastnetmon | grep -v '^=== '
	@$(GO) test -count=1 -run '^Test(Confusion|RealCaptures)$$' -v ./core/internal/evidence | grep -v '^=== '

.PHONY: soak
soak: go-version ## full counts of the long tests; AREA=name picks a package path
	FASTNETMON_SOAK=1 $(GO) test -race -count=1 -timeout 6h -v ./$(or $(AREA),...)

.PHONY: bench
bench: go-version ## benchmarks on seeded mixes, with memory figures
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./sdk/... ./core/... ./plugins/...

.PHONY: bench-peer
bench-peer: go-version ## install Debian's fastnetmon and compare: same load, same core; ROUNDS=3
	.ci/install
	FASTNETMON_PEER=/usr/sbin/fastnetmon FASTNETMON_PEER_ROUNDS=$(or $(ROUNDS),3) \
		$(GO) test -run '^$$' -bench '^BenchmarkPeer' -benchtime 1x -timeout 2h ./core/cmd/fastnetmon

# Replays and the two models take some minutes, the live part five more on a
# machine that does nothing else.
REPORT := FASTNETMON_REPORT='$(CURDIR)/core/README.md $(CURDIR)/README.md'
.PHONY: report
report: go-version ## false positives and delays, over rules, corpus and peer: into the READMEs
	.ci/install peer
	$(REPORT) $(GO) test -run '^$$' -bench '^BenchmarkReport$$' -benchtime 1x -timeout 1h ./core/internal/pipeline ./core/cmd/fastnetmon
	$(REPORT) FASTNETMON_PEER=/usr/sbin/fastnetmon \
		$(GO) test -run '^$$' -bench '^Benchmark(PipelineDelay|PeerDistribution)$$' -benchtime 1x -timeout 1h ./core/cmd/fastnetmon

.PHONY: fuzz
fuzz: go-version ## every fuzz target for FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: lint
lint: go-version $(LINT) ## golangci-lint, go vet, gofumpt, tidy go.mod
	$(LINT) run --build-tags "$(TAGS)" ./...
	$(GO) mod tidy -diff

.PHONY: fmt
fmt: go-version $(LINT) ## format the code
	$(LINT) fmt ./...

$(LINT):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

.PHONY: generate
generate: go-version ## regenerate the code of .proto files (needs protoc)
	@mkdir -p $(TOOLS)
	cd .ci/tools && GOBIN=$(TOOLS) $(GO) install tool
	PATH="$(TOOLS):$$PATH" protoc -I sdk/proto \
		--go_out=. --go_opt=module=github.com/fastnetmon-go/fastnetmon \
		--go-grpc_out=. --go-grpc_opt=module=github.com/fastnetmon-go/fastnetmon \
		sdk/proto/fastnetmon/plugin/v1/plugin.proto
	PATH="$(TOOLS):$$PATH" protoc -I core/internal/api/proto \
		--go_out=. --go_opt=module=github.com/fastnetmon-go/fastnetmon \
		--go-grpc_out=. --go-grpc_opt=module=github.com/fastnetmon-go/fastnetmon \
		core/internal/api/proto/fastnetmon/api/v1/control.proto
	PATH="$(TOOLS):$$PATH" protoc -I plugins/export/kafka/proto \
		--go_out=. --go_opt=module=github.com/fastnetmon-go/fastnetmon \
		plugins/export/kafka/proto/fastnetmon/export/v1/kafka.proto

# go list -export compiles as go build does, and links nothing.
.PHONY: cross
cross: go-version ## compile for the other platforms; run the 32-bit unit tests of what counts and parses
	@for platform in $(CROSS); do \
		echo "compiling for $$platform"; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) list -export -f "" ./... >/dev/null; \
	done
	CGO_ENABLED=0 GOARCH=386 $(GO) test -short -timeout 15m ./sdk/... ./core/internal/...
