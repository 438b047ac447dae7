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

// When a client disconnects in the middle of a blob, the log does not report a blob that was
// cut off, whether the blob comes from a file or from a gateway.
func TestClientThatDisconnectsIsNotLogged(t *testing.T) {
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
