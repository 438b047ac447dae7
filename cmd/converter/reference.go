package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// An imageRef is a REF argument: a root, and which of the images below it are
// meant.
type imageRef struct {
	root cid.Cid
	origin.Selection
}

// parseReference reads what the converter prints, with or without a registry host:
// [HOST/]CID[/NAME][:TAG|@DIGEST], the CID in any spelling.
func parseReference(s string) (imageRef, error) {
	address, tag := splitTag(strings.TrimPrefix(s, "/ipfs/"))
	var failed error
	for range 2 { // without a host, and with one
		first, name, _ := strings.Cut(strings.TrimPrefix(address, "ipfs/"), "/")
		root, err := cidname.ParseAny(first)
		if err == nil {
			return imageRef{root, origin.Selection{Name: name, Reference: tag}}, checkSelection(name, tag)
		}
		if _, spelling := errors.AsType[*cidname.SpellingError](err); spelling || failed == nil {
			failed = err
		}
		address = name
		if address == "" {
			break
		}
	}
	return imageRef{}, fmt.Errorf("%q is not the address of an image: %w", s, failed)
}

// splitTag cuts a tag or digest off a reference, whose host may have a port.
func splitTag(s string) (rest, tag string) {
	if rest, d, found := strings.Cut(s, "@"); found {
		return rest, d
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		return s[:i], s[i+1:]
	}
	return s, ""
}

func checkSelection(name, tag string) error {
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

// A storedImage is a reference and the open place that it is read from.
type storedImage struct {
	origin.Origin
	imageRef
}

// open opens a place for reading what the only argument refers to. Without an
// argument, that is the root of a CAR file.
func (p place) open(args []string, warnf func(format string, args ...any)) (storedImage, error) {
	var ref imageRef
	if len(args) > 0 {
		var err error
		if ref, err = parseReference(args[0]); err != nil {
			return storedImage{}, err
		}
	}
	from, roots, err := p.origin(warnf)
	if err != nil {
		return storedImage{}, err
	}
	if len(args) == 0 {
		if ref.root, err = onlyRoot(roots); err != nil {
			from.Close()
			return storedImage{}, err
		}
	}
	return storedImage{from, ref}, nil
}

var errNoReference = errors.New("no image is named: give its address, as converter printed it")

// someReferences is a cobra.PositionalArgs that wants at least one REF.
func someReferences(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errNoReference
	}
	return nil
}

func onlyRoot(roots []cid.Cid) (cid.Cid, error) {
	switch len(roots) {
	case 0:
		return cid.Undef, errNoReference
	case 1:
		return roots[0], nil
	}
	return cid.Undef, fmt.Errorf("the CAR file has %d roots: give the address of one", len(roots))
}

// An ontoBase is the root that --onto names, if it names one.
type ontoBase struct{ *converter.Base }

// openBase opens the root of --onto in a place.
func openBase(onto string, at place, warnf func(format string, args ...any)) (ontoBase, error) {
	if onto == "" || onto == ontoRoot {
		return ontoBase{}, nil
	}
	ref, err := parseReference(onto)
	if err != nil {
		return ontoBase{}, err
	}
	from, _, err := at.origin(warnf)
	if err != nil {
		return ontoBase{}, fmt.Errorf("looking for the root of --onto: %w; --from says where it is", err)
	}
	return ontoBase{&converter.Base{From: from, Root: ref.root}}, nil
}

func (b ontoBase) close() {
	if b.Base != nil {
		b.From.Close()
	}
}

// completeReferences completes a REF with the images of the store that --store
// names, or of the default store.
func completeReferences(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	dir := ""
	if flag := cmd.Flags().Lookup("store"); flag != nil {
		dir = flag.Value.String()
	}
	at, err := storeAt(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	records, _ := at.openStore().Images(cmd.Context()) // damaged records are left out
	var completions []string
	for _, r := range records {
		for _, img := range r.Images {
			if address := addressOf(r, img); strings.HasPrefix(address, typed) {
				completions = append(completions, cobra.CompletionWithDesc(oneLine(address), oneLine(img.Tag)))
			}
		}
	}
	return completions, cobra.ShellCompDirectiveNoFileComp
}

// completeOnto completes the value of --onto.
func completeOnto(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	completions, directive := completeReferences(cmd, args, typed)
	if strings.HasPrefix(ontoRoot, typed) {
		completions = append(completions, cobra.CompletionWithDesc(ontoRoot, "the store's own root"))
	}
	return completions, directive
}

// addressOf returns what to pull, without host and tag.
func addressOf(r store.Record, img layout.Tagged) string {
	if img.Name == "" {
		return r.Root
	}
	return r.Root + "/" + img.Name
}

// referenceOf returns what to pull, without host.
func referenceOf(r store.Record, img layout.Tagged) string {
	if img.Tag == "" {
		return addressOf(r, img) + "@" + img.Digest.String()
	}
	return addressOf(r, img) + ":" + img.Tag
}
