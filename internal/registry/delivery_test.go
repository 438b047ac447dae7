package registry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// A left answer is one whose client has closed the connection.
type left struct{ *httptest.ResponseRecorder }

func (left) Write([]byte) (int, error) { return 0, os.NewSyscallError("write", syscall.EPIPE) }

func (left) ReadFrom(io.Reader) (int64, error) {
	return 0, os.NewSyscallError("sendfile", syscall.EPIPE)
}

// A client that leaves in the middle of a blob is no fault of anybody, and the log says
// nothing of it: neither for a file that the system sends, nor for bytes of a gateway.
func TestClientThatLeavesIsNoCutOffBlob(t *testing.T) {
	im := imagestest.New(t)
	for name, c := range map[string]setup{"store": stored(t, im), "gateway": gateways(im.Gateway(t))} {
		for _, ranges := range []string{"", "bytes=0-99999,600000-600001"} {
			s := newSite(t, c)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, im.BlobURL(t, im.Layer), nil)
			if ranges != "" {
				r.Header.Set("Range", ranges)
			}
			func() {
				defer func() {
					if p := recover(); p != http.ErrAbortHandler {
						t.Errorf("%s %s: panic %v", name, ranges, p)
					}
				}()
				_ = s.registry.Serve(left{httptest.NewRecorder()}, Request{Request: r, Original: r.URL})
			}()
			if logged := s.logged("blob cut off"); len(logged) > 0 {
				t.Errorf("%s %s: %v", name, ranges, logged[0].ContextMap())
			}
		}
	}
}
