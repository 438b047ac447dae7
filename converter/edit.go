package converter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// An object is a JSON object of which some fields are edited. The others keep their
// values to the byte.
type object map[string]json.RawMessage

// editList edits the entries of a list in a JSON object. It leaves out the entries for
// which edit returns nil. The result has sorted keys and no white space.
func editList(data []byte, list string, edit func(i int, entry object) (object, error)) ([]byte, error) {
	var whole object
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	if err := whole.check(list); err != nil {
		return nil, err
	}
	var entries []object
	if err := json.Unmarshal(whole[list], &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	edited := []object{}
	for i, entry := range entries {
		e, err := edit(i, entry)
		if err != nil {
			return nil, err
		}
		if e != nil {
			edited = append(edited, e)
		}
	}
	if err := whole.set(list, edited); err != nil {
		return nil, err
	}
	return manifest.Encode(whole)
}

// check refuses fields that differ from the edited ones in upper and lower case alone.
// Go's decoder takes both for the same field, and other programs do not.
func (o object) check(fields ...string) error {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		for _, field := range fields {
			if key != field && strings.EqualFold(key, field) {
				return fmt.Errorf("a field is spelled %q, and must be %q", key, field)
			}
		}
	}
	return nil
}

func (o object) set(field string, value any) error {
	data, err := manifest.Encode(value)
	o[field] = data
	return err
}

// describe turns the object, a descriptor, into one of other bytes. It drops what the
// descriptor says of the old bytes alone.
func (o object) describe(d v1.Descriptor) error {
	if err := o.check("data", "annotations", "mediaType", "digest", "size"); err != nil {
		return err
	}
	delete(o, "data")
	if err := o.dropAnnotations(); err != nil {
		return err
	}
	for field, value := range map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size} {
		if err := o.set(field, value); err != nil {
			return err
		}
	}
	return nil
}

// seekable are the prefixes of the annotations that say where files are in a compressed
// layer: those of eStargz and of zstd:chunked.
var seekable = []string{"containerd.io/snapshot/stargz/", "io.github.containers.zstd-chunked."}

func (o object) dropAnnotations() error {
	if o["annotations"] == nil {
		return nil
	}
	var annotations object
	if err := json.Unmarshal(o["annotations"], &annotations); err != nil {
		return fmt.Errorf("annotations: %w", err)
	}
	maps.DeleteFunc(annotations, func(key string, _ json.RawMessage) bool {
		return slices.ContainsFunc(seekable, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	})
	return o.set("annotations", annotations)
}
