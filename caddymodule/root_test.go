package caddymodule

import (
	"strings"
	"testing"
)

func TestRefusedRoots(t *testing.T) {
	for config, want := range map[string]string{
		`{"root":{},"gateways":[{"upstreams":["http://gw"]}]}`: "setting up the root: 'root' without an address is the store's own root, and there is no store",
		`{"push":{},"root":{"address":"` + aCID + `"}}`:        `setting up the root: 'push' puts images into the store's own root, and plain names cannot mean ` + aCID + ` as well`,
		`{"keep":1}`:                   `'keep' is about the store's own root, and nothing serves it`,
		`{"push":{"mount":["A"]}}`:     `setting up push: mount: "A" is not a valid image name`,
		`{"push":{"max_blob":-1}}`:     `max_blob of -1 bytes`,
		`{"push":{"uploads":-1}}`:      `-1 uploads`,
		`{"push":{"ttl":1}}`:           `ttl of 1ns: give a duration from 1s to 24h0m0s`,
		`{"root":{"address":"nginx"}}`: `"nginx" is neither a CID`,
		`{"root":{"address":"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"}}`: "is a file, not a directory of images",
		`{"root":{"address":"` + aCID + `","for":["https://r.test"]}}`:                       `"https://r.test" is not the host of a registry`,
		`{"root":{"address":"` + aCID + `","for":["r.test/x"]}}`:                             "is not the host of a registry",
		`{"root":{"address":"` + aKey + `"}}`:                                                "the root " + aKey + " is an IPNS key, whose records come from gateways",
		`{"catalog":true,"gateways":[{"upstreams":["http://gw"]}]}`:                          "there is neither a store nor a root",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

const (
	aCID = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	aKey = "k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r"
)
