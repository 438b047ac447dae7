package trustless

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// However a gateway changes its answers, in any format, a reader gets the content of the
// CID or an error, content that exists is never reported absent, and little is remembered.
func FuzzAnswers(f *testing.F) {
	pubs := []*published{publishOf(f, unixfs.V0, 3000, 9), publishOf(f, unixfs.V1, 3000, 9)}
	for form := range byte(3) {
		for profile := range byte(2) {
			f.Add(form, profile, uint16(70), uint16(1), []byte{0xff}, false)
			f.Add(form, profile, uint16(300), uint16(0), []byte("something"), true)
			f.Add(form, profile, uint16(0), uint16(60), []byte(nil), true)
		}
	}
	f.Fuzz(func(t *testing.T, form, profile byte, at, cut uint16, put []byte, again bool) {
		pub := pubs[profile%2]
		liar := *pub
		format := []gateway.Format{gateway.Plain, gateway.CAR, gateway.Raw}[form%3]
		liar.refuses = map[gateway.Format]bool{gateway.Plain: format != gateway.Plain, gateway.CAR: format == gateway.Raw}
		liar.damage = func(f gateway.Format, body []byte) []byte {
			if f != format {
				return body
			}
			for from := int(at); from <= len(body); from += 1 + int(at) + len(put) {
				body = append(append(bytes.Clone(body[:from]), put...), body[min(len(body), from+int(cut)):]...)
				if !again {
					break
				}
			}
			return body
		}
		s := session(&liar)
		data, err := s.ReadFile(t.Context(), pub.root, "app/manifests/v1", 1000)
		if err == nil && !bytes.Equal(data, pub.manifest) || errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the manifest is %q, %v", data, err)
		}
		for _, part := range []*gateway.Range{nil, {First: 1000, Last: 2500}} {
			from, to := int64(0), int64(len(pub.blob))
			if part != nil {
				from, to = part.Resolve(to)
			}
			var k sink
			err := s.Copy(t.Context(), pub.at("app/blobs/b"), part, &k)
			if !bytes.HasPrefix(pub.blob[from:to], k.Bytes()) || err == nil && int64(k.Len()) != to-from || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%d bytes of %d, %v", k.Len(), to-from, err)
			}
		}
		if _, err := s.ReadFile(t.Context(), pub.root, "app/manifests/none", 1000); err == nil {
			t.Fatal("a file that does not exist was read")
		}
		if n := s.blocks.Bytes(); n > 1<<20 {
			t.Fatalf("remembers %d bytes", n)
		}
	})
}
