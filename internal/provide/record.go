package provide

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// serveRecord answers with the newest record of a store's own root.
func (p *Provider) serveRecord(w http.ResponseWriter, r *Request) error {
	if err := p.config.Lists.CheckName(r.Name, ""); err != nil {
		return err
	}
	record, err := p.record(r)
	if err != nil {
		return err
	}
	r.setContent(w, recordType, r.Name+".ipns-record", fmt.Sprintf(`"%x"`, sha256.Sum256(record.Data)))
	w.Header().Set("Cache-Control", fmt.Sprintf("%s, max-age=%d, no-transform", r.cacheScope(), maxAge(record)/time.Second))
	http.ServeContent(w, r.Request, "", time.Time{}, bytes.NewReader(record.Data))
	return nil
}

// record returns the newest record of a name. The error is store.ErrLacking if no store's own
// root has the name, or if nothing was put into the root.
func (p *Provider) record(r *Request) (store.SignedRecord, error) {
	for _, s := range p.config.Stores {
		if name, ok := s.Root().Name(); !ok || name != r.Name {
			continue
		}
		record, err := s.Root().Signed(r.Context())
		switch {
		case err != nil && !errors.Is(err, store.ErrLacking):
			return record, &storeError{err}
		case err == nil && record.Name == r.Name: // the key was not replaced meanwhile
			return record, nil
		}
	}
	return store.SignedRecord{}, store.ErrLacking
}

// maxAge returns how long a cache may keep a record: for its TTL, but not beyond its end.
func maxAge(r store.SignedRecord) time.Duration {
	return max(0, min(r.TTL, time.Until(r.Expires)))
}
