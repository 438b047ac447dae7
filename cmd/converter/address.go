package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An address is that of an image, or all images below a root.
type address struct {
	root cid.Cid
	name string // empty for all, or where the root is the image
	tag  string // a tag or digest; empty for all
}

// parseAddress reads what the converter prints, with or without its host:
// [HOST/]CID[/NAME][:TAG|@DIGEST], the CID in any spelling.
func parseAddress(s string) (address, error) {
	at, tag := splitTag(strings.TrimPrefix(s, "/ipfs/"))
	var mistake error
	for range 2 { // with its host, and without
		first, name, _ := strings.Cut(strings.TrimPrefix(at, "ipfs/"), "/")
		root, err := cidname.ParseAny(first)
		if err == nil {
			return address{root, name, tag}, checkAddress(name, tag)
		}
		if _, spelling := errors.AsType[*cidname.SpellingError](err); spelling || mistake == nil {
			mistake = err
		}
		at = name
		if at == "" {
			break
		}
	}
	return address{}, fmt.Errorf("%q is no address of an image: %w", s, mistake)
}

// splitTag cuts a tag or digest off a reference. A host may have a port.
func splitTag(s string) (rest, tag string) {
	if rest, d, found := strings.Cut(s, "@"); found {
		return rest, d
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func checkAddress(name, tag string) error {
	if name != "" {
		if err := layout.CheckName(name); err != nil {
			return err
		}
	}
	switch {
	case tag == "":
		return nil
	case layout.IsDigest(tag):
		_, err := layout.ParseDigest(tag)
		return err
	}
	return layout.CheckTag(tag)
}
