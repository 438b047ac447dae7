SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
.NOTPARALLEL:

# The packages with unit tests: all but the end-to-end tests in tests/.
UNITS := . ./caddymodule/... ./cmd/... ./contrib/... ./converter/... ./internal/... ./tests/dependencies ./tests/docs ./tests/internal/... ./tests/report ./tests/soak

# The race detector needs a C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

build: ## build both programs into bin
	go build -o bin/ ./cmd/caddy ./cmd/converter

run: build ## serve the default store on :5000
	bin/caddy run --config Caddyfile.example --adapter caddyfile

demo: build ## make an image, convert, serve and pull it
	tests/demo/demo.sh

check: build lint ## format, vet, lint and unit tests: no other programs, a few minutes
	bin/caddy fmt --diff Caddyfile.example
	go mod tidy -diff
	go vet -tags abuse ./...
	if command -v shellcheck >/dev/null; then shellcheck .ci/run $$(git ls-files '*.sh'); fi
	go test -timeout 30m $(UNITS)

lint: bin/golangci-lint ## golangci-lint at the version that tests/tools pins: the format as well
	bin/golangci-lint run

bin/golangci-lint: tests/tools/golangci-lint/go.mod
	go build -C tests/tools/golangci-lint -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fmt: bin/golangci-lint ## format Go and Caddyfile
	bin/golangci-lint fmt
	go run ./cmd/caddy fmt --overwrite Caddyfile.example

# Builds the released programs (see contrib/release) for every platform, and vets
# the files that are compiled only for macOS or Windows.
cross: ## build and vet for the platforms of a release
	GOOS=linux GOARCH=arm64 go build -o /dev/null ./cmd/caddy
	GOOS=linux GOARCH=arm64 go build -o /dev/null ./cmd/converter
	GOOS=darwin GOARCH=amd64 go build -o /dev/null ./cmd/converter
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/caddy
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/converter
	GOOS=windows GOARCH=amd64 go vet ./cmd/converter ./converter/... ./internal/...

race: ## the unit tests with the race detector, where there is a C compiler
	$(if $(RACE),go test $(RACE) -timeout 60m $(UNITS))

test: check cross race e2e ## everything that CI runs: downloads its tools, takes half an hour or more

# The tests of one package run in parallel, and the packages one after the other: all
# packages at once would be too much for two processors. The timeout of a package is
# above the bounds of its tests, so that a test that hangs is named.
E2E ?= ./tests/...
e2e: build ## the end-to-end tests, or those of E2E=./tests/store alone
	tests/setup.sh
	go test -json -count=1 -p 1 -timeout 90m $(E2E) | go run ./tests/report

KILLS ?= 1000
soak: build ## kill programs KILLS times, try all lies, fuzz: an hour or more; continues where it was stopped
	tests/setup.sh
	go run ./tests/soak -kills $(KILLS)

abuse: build ## what hostile clients, publishers and gateways cost, beside the bars: ten minutes
	go test -count=1 -v -timeout 30m -tags abuse ./tests/abuse -run '^TestStrangersStayWithinTheirBars$$'

FUZZTIME ?= 20s
fuzz: ## every fuzz test for FUZZTIME
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | { grep '^Fuzz' || true; }); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$p; \
		done; \
	done

PARTS ?=
bench: build ## measure against skopeo, other registries and Kubo, or some of it: PARTS="push root"
	tests/setup.sh
	go run ./tests/bench $(PARTS)

vulnerabilities: ## look for known vulnerabilities at vuln.go.dev
	go run golang.org/x/vuln/cmd/govulncheck@latest ./...

DOCKER ?= docker
image: ## build the container image caddy-ipfs-registry
	$(DOCKER) build --tag caddy-ipfs-registry .

release: ## static archives of this commit for all platforms in dist, with checksums
	go run ./contrib/release

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | sort | column -t -s '|'

.PHONY: build run demo check lint fmt cross race test e2e soak abuse fuzz bench vulnerabilities image release help
