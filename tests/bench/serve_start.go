package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// manyImages measures the time from the start of Caddy until it answers with a manifest
// from a store of ten thousand images.
func (b *bench) manyImages(p kept) error {
	const images = 10_000
	if err := addRecords(p.store, images); err != nil {
		return fmt.Errorf("filling a store: %w", err)
	}
	return b.figures([]figure{
		{fmt.Sprintf("start with %d images in the store, until a manifest", images), "s", 1, false},
	}, func() ([]float64, error) {
		start := time.Now()
		s, err := b.caddy(ourAddress, "ipfs_registry http://"+nodeGateway+" {\n\tstore "+p.store+"\n}")
		if err != nil {
			return nil, err
		}
		defer s.stop()
		resp, err := http.Get(s.url + p.manifest())
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s", resp.Status)
		}
		return []float64{time.Since(start).Seconds()}, nil
	}, nil)
}

// addRecords adds the records of many images to a store, without their blobs.
func addRecords(store string, images int) error {
	sample, err := filepath.Glob(filepath.Join(store, "images", "*.json"))
	if err != nil || len(sample) == 0 {
		return fmt.Errorf("no image in %s: %w", store, err)
	}
	var record map[string]any
	data, err := os.ReadFile(sample[0])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &record); err != nil {
		return err
	}
	for i := range images {
		sum, err := mh.Sum(fmt.Append(nil, i), mh.SHA2_256, -1)
		if err != nil {
			return err
		}
		root := cid.NewCidV1(cid.DagProtobuf, sum)
		if record["root"], err = cidname.Format(root); err != nil {
			return err
		}
		if data, err = json.Marshal(record); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(store, "images", root.String()+".json"), data, 0o644); err != nil {
			return err
		}
	}
	return exec.Command("sync", "-f", store).Run()
}
