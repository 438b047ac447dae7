package layout

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A document is what a manifest or index leads to.
type document struct {
	Manifests descriptors    `json:"manifests"`
	Config    *v1.Descriptor `json:"config"`
	Layers    descriptors    `json:"layers"`
	Blobs     descriptors    `json:"blobs"` // of an artifact
}

// parseDocument reads a manifest or index. It leaves out descriptors without a valid
// digest: no client could ask for them.
func parseDocument(data []byte) (document, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return document{}, fmt.Errorf("%w: %w", errNotManifest, err)
	}
	if d.Config != nil && d.Config.Digest.Validate() != nil {
		d.Config = nil
	}
	return d, nil
}

// descriptors are those of a list that have a valid digest.
type descriptors []v1.Descriptor

// UnmarshalJSON implements json.Unmarshaler.
func (l *descriptors) UnmarshalJSON(data []byte) error {
	*l = nil
	return each(data, func(d *v1.Descriptor) error {
		if d.Digest.Validate() == nil {
			*l = append(*l, *d)
		}
		return nil
	})
}

// each calls use with the elements of a JSON array, one after the other: a million empty
// elements, decoded together, would take two hundred times the memory of the document.
// Null is an empty array.
func each[T any](data []byte, use func(*T) error) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	switch token, err := decoder.Token(); {
	case err != nil:
		return err
	case token == nil:
		return nil
	case token != json.Delim('['):
		return fmt.Errorf("%v in place of an array", token)
	}
	element := new(T)
	for decoder.More() {
		var zero T
		*element = zero
		if err := decoder.Decode(element); err != nil {
			return err
		}
		if err := use(element); err != nil {
			return err
		}
	}
	return nil
}
