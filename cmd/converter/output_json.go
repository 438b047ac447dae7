package main

import (
	"encoding/json"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A resultJSON is what --json prints of a result.
type resultJSON struct {
	Root     string      `json:"root"` // as image names spell it
	CIDs     []string    `json:"cids"` // all spellings of the root
	StoredIn string      `json:"storedIn"`
	Bytes    int64       `json:"bytes"`                 // of all blobs below the root
	New      *int64      `json:"newBytes,omitempty"`    // of those, in leaves that were not there before, each once
	Reused   *int64      `json:"reusedBytes,omitempty"` // and the others
	Images   []imageJSON `json:"images"`
}

type imageJSON struct {
	Reference string        `json:"reference"` // to pull
	Name      string        `json:"name,omitempty"`
	Tag       string        `json:"tag,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"` // bytes of all that is pulled for it
}

func (o *output) printJSON(w io.Writer, result *converter.Result, where string) error {
	references, err := result.References(o.host)
	if err != nil {
		return err
	}
	out := resultJSON{StoredIn: where, Bytes: result.Bytes, Images: []imageJSON{}}
	if out.CIDs, err = spellings(result.Root); err != nil {
		return err
	}
	out.Root = out.CIDs[0]
	if result.Reused >= 0 {
		added := result.Bytes - result.Reused
		out.New, out.Reused = &added, &result.Reused
	}
	for i, img := range result.Images {
		out.Images = append(out.Images, imageJSON{references[i], img.Name, img.Tag, img.MediaType, img.Digest, img.Size})
	}
	return json.NewEncoder(w).Encode(out)
}

// spellings returns all ways to write a CID, that of image names first.
func spellings(c cid.Cid) ([]string, error) {
	all, err := cidname.Spellings(c)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.Text
	}
	return texts, nil
}
