# Two commands are all a newcomer types: make demo, make test.
SHELL      := /bin/bash
.DEFAULT_GOAL := help
GO         ?= go
TOOLS      := $(abspath .ci/tools)
tool        = $(GO) tool -modfile=$(TOOLS)/go.mod

.PHONY: generate
generate: ## regenerate the gRPC code from sdk/proto (needs protoc)
	mkdir -p .cache/tools
	cd $(TOOLS) && GOBIN=$(CURDIR)/.cache/tools $(GO) install tool
	PATH="$(CURDIR)/.cache/tools:$$PATH" protoc -I sdk/proto \
		--go_out=. --go_opt=module=github.com/fastnetmon-go/fastnetmon \
		--go-grpc_out=. --go-grpc_opt=module=github.com/fastnetmon-go/fastnetmon \
		sdk/proto/fastnetmon/plugin/v1/plugin.proto
