SHELL := bash
.DEFAULT_GOAL := build

# The race detector takes a C compiler.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

build: ## build both programs into bin
	go build -o bin/ ./cmd/caddy ./cmd/converter

run: build ## serve the default store on :5000
	bin/caddy run --config Caddyfile.example --adapter caddyfile

demo: build ## convert, serve and pull an image of its own
	tests/demo/demo.sh

test: build ## everything: fetches what it needs, takes minutes
	tests/setup.sh
	bin/caddy fmt Caddyfile.example --diff >/dev/null
	go vet ./...
	go test $(RACE) ./caddymodule ./converter/... ./cmd/... ./internal/...
	go test -count=1 -v -p 1 -timeout 25m ./tests/...

e2e: build ## the end-to-end tests alone
	tests/setup.sh
	go test -count=1 -v -p 1 -timeout 25m ./tests/...

bench: build ## measure against skopeo, docker-registry and Kubo
	tests/setup.sh
	go run ./tests/bench

KILLS ?= 1000
soak: build ## kill programs KILLS times under load, and go over all lies
	tests/setup.sh
	go test -count=1 -v -timeout 5h ./tests/store -run '^TestKills$$' -kills $(KILLS)
	go test -count=1 -v -timeout 5h ./tests/lies -run '^TestLies$$' -lies

FUZZTIME ?= 20s
fuzz: ## every fuzz test for FUZZTIME
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$p || exit 1; \
		done; \
	done

DOCKER ?= docker
image: ## build the container image caddy-ipfs-registry
	$(DOCKER) build --tag caddy-ipfs-registry .

release: ## static archives of this commit for all platforms in dist, with checksums
	go run ./contrib/release

lint: ## golangci-lint, where it is installed
	golangci-lint run

fmt: ## format Go and Caddyfile
	gofmt -w $$(git ls-files '*.go')
	go run ./cmd/caddy fmt --overwrite Caddyfile.example

.PHONY: build run demo test e2e bench soak fuzz image release lint fmt
