package layout

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxManifest is how many bytes a manifest or index has at most: the 4 MiB that registries
// are advised to accept.
const MaxManifest = 4 << 20

// A Manifest is a manifest or index: the bytes that its digest covers, and the media type
// by which clients know what it is.
type Manifest struct {
	Data      []byte
	Digest    digest.Digest
	MediaType string

	At Place // where it was read
}

// ErrInvalid says that a file is not what an image has at its place. Every source of the
// file would give the same.
var ErrInvalid = errors.New("this is not what an image has here")

// An invalidError is an ErrInvalid that says why.
type invalidError string

func (e invalidError) Error() string { return string(e) }

func (e invalidError) Is(target error) bool { return target == ErrInvalid }

const errNotManifest invalidError = "not an image manifest or index"

// ParseManifest returns the manifest or index that data is. Gateways take every manifest for
// application/json, with which clients do not pull, so the content decides. The media type
// is always a known one, since it becomes a response header.
func ParseManifest(data []byte) (Manifest, error) {
	if len(data) > MaxManifest {
		return Manifest{}, fmt.Errorf("longer than %d bytes: %w", MaxManifest, errNotManifest)
	}
	var fields struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", errNotManifest, err)
	}
	m := Manifest{Data: data, Digest: digest.FromBytes(data), MediaType: fields.MediaType}
	switch {
	case IsManifestType(fields.MediaType):
		return m, nil
	case fields.MediaType != "":
		return Manifest{}, fmt.Errorf("the media type is %q: %w", fields.MediaType, errNotManifest)
	}
	switch {
	case fields.SchemaVersion != 2:
		return Manifest{}, fmt.Errorf("the schema version is %d: %w", fields.SchemaVersion, errNotManifest)
	case fields.Manifests != nil:
		m.MediaType = v1.MediaTypeImageIndex
	case fields.Config != nil && fields.Layers != nil:
		m.MediaType = v1.MediaTypeImageManifest
	default:
		return Manifest{}, errNotManifest
	}
	return m, nil
}
