package manifest

import (
	"encoding/json"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// MaxNesting is how many indexes may name one another. Two are in use.
const MaxNesting = 8

// ErrNesting says that there are more.
var ErrNesting = fmt.Errorf("more than %d indexes name one another", MaxNesting)

// ParseIndex reads what a manifest that is an index names.
func ParseIndex(m layout.Manifest) (v1.Index, error) {
	var index v1.Index
	if err := json.Unmarshal(m.Data, &index); err != nil {
		return v1.Index{}, fmt.Errorf("reading index %s: %w", m.Digest, err)
	}
	return index, nil
}
