package registry

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// begin begins an upload, and returns its path.
func (s *site) begin(t testing.TB, repository string, header ...string) string {
	t.Helper()
	resp := s.change(t, 202, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", nil, header...)
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, "/v2/"+repository+"/blobs/uploads/") || resp.Header.Get("Range") != "0-0" ||
		!strings.HasSuffix(location, resp.Header.Get("Docker-Upload-UUID")) {
		t.Fatalf("%v", resp.Header)
	}
	return location
}

// Every way of sending a blob ends at the same blob.
func TestEveryKindOfUpload(t *testing.T) {
	s := newPush(t)
	for name, send := range map[string]func(t *testing.T, content []byte, d string) *http.Response{
		"at once": func(t *testing.T, content []byte, d string) *http.Response {
			return s.change(t, 201, http.MethodPost, "/v2/app/blobs/uploads/?digest="+d, content)
		},
		"post, put": func(t *testing.T, content []byte, d string) *http.Response {
			return s.change(t, 201, http.MethodPut, s.begin(t, "app")+"?digest="+d, content)
		},
		"post without slash, patch, put": func(t *testing.T, content []byte, d string) *http.Response {
			location := s.change(t, 202, http.MethodPost, "/v2/app/blobs/uploads", nil).Header.Get("Location")
			s.change(t, 202, http.MethodPatch, location, content)
			return s.change(t, 201, http.MethodPut, location+"?digest="+d, nil)
		},
		"chunks": func(t *testing.T, content []byte, d string) *http.Response {
			location := s.begin(t, "app")
			resp := s.change(t, 202, http.MethodPatch, location, content[:3], "Content-Range", "0-2")
			if got := resp.Header.Get("Range"); got != "0-2" || resp.Header.Get("Location") != location {
				t.Errorf("Range: %s, %v", got, resp.Header)
			}
			return s.change(t, 201, http.MethodPut, location+"?digest="+d, content[3:], "Content-Range", "3-9")
		},
	} {
		t.Run(name, func(t *testing.T) {
			content := []byte((name + "..........")[:10])
			d := digest.FromBytes(content).String()
			resp := send(t, content, d)
			if got := resp.Header.Get("Location"); got != "/v2/app/blobs/"+d || resp.Header.Get("Docker-Content-Digest") != d {
				t.Errorf("Location: %s, %v", got, resp.Header)
			}
			for _, method := range []string{http.MethodHead, http.MethodGet} {
				resp, body, err := s.do(t, method, "/v2/app/blobs/"+d)
				if err != nil || resp.StatusCode != 200 || resp.ContentLength != 10 || method == http.MethodGet && !bytes.Equal(body, content) {
					t.Errorf("%s: %s, %s, %v", method, resp.Status, body, err)
				}
			}
		})
	}
}

// A chunk that does not begin where the upload ends changes nothing, and the answer says
// where to go on.
func TestChunksOutOfOrder(t *testing.T) {
	s := newPush(t)
	location := s.begin(t, "app")
	s.change(t, 202, http.MethodPatch, location, []byte("one"), "Content-Range", "0-2")
	for _, said := range []string{"4-6", "0-2", "2-4", "100000000000000000-100000000000000002"} {
		for _, method := range []string{http.MethodPatch, http.MethodPut} {
			resp := s.change(t, 416, method, location+"?digest="+aDigest, []byte("two"), "Content-Range", said)
			if resp.Header.Get("Range") != "0-2" || resp.Header.Get("Location") != location {
				t.Errorf("%s: %v", said, resp.Header)
			}
		}
	}
	for _, said := range []string{"bytes 3-5/6", "3-", "3-4", "5-3", "-1-2", "9999999999999999999-9999999999999999999"} {
		s.change(t, 400, http.MethodPatch, location, []byte("two"), "Content-Range", said)
	}
	if resp := s.change(t, 204, http.MethodGet, location, nil); resp.Header.Get("Range") != "0-2" {
		t.Errorf("%v", resp.Header)
	}
	s.change(t, 201, http.MethodPut, location+"?digest="+digest.FromString("onetwo").String(), []byte("two"), "Content-Range", "3-5")
}

// Bytes that do not have the digest that the client says are never a blob.
func TestFalseDigests(t *testing.T) {
	s := newPush(t)
	d := digest.FromString("something else").String()
	put := func(query string) string { return s.begin(t, "app") + query }
	for path, method := range map[string]string{
		"/v2/app/blobs/uploads/?digest=" + d:          http.MethodPost,
		"/v2/app/blobs/uploads/?digest=sha256:12":     http.MethodPost,
		"/v2/app/blobs/uploads/?digest=":              http.MethodPost,
		"/v2/app/blobs/uploads/?mount=sha256:12":      http.MethodPost,
		put("?digest=" + d):                           http.MethodPut,
		put("?digest=md5:" + strings.Repeat("0", 32)): http.MethodPut,
		put(""): http.MethodPut,
	} {
		resp, body, err := s.send(t, method, path, strings.NewReader("content"))
		if err != nil || resp.StatusCode != 400 || !strings.Contains(string(body), "DIGEST_INVALID") {
			t.Errorf("%s %s: %s, %s, %v", method, path, resp.Status, body, err)
		}
	}
	s.get(t, 404, "/v2/app/blobs/"+d)
	s.get(t, 404, "/v2/app/blobs/"+digest.FromString("content").String())
}

// An upload that was cancelled or finished is gone, and so is one that never was.
func TestUploadsEnd(t *testing.T) {
	s := newPush(t)
	cancelled, finished := s.begin(t, "app"), s.begin(t, "app")
	s.change(t, 204, http.MethodDelete, cancelled, nil)
	s.change(t, 201, http.MethodPut, finished+"?digest="+digest.FromString("x").String(), []byte("x"))
	for _, location := range []string{cancelled, finished, "/v2/app/blobs/uploads/" + strings.Repeat("0", 32), "/v2/app/blobs/uploads/x"} {
		checkError(t, s, http.MethodGet, location, "BLOB_UPLOAD_UNKNOWN", 404)
		checkError(t, s, http.MethodPatch, location, "BLOB_UPLOAD_UNKNOWN", 404)
		checkError(t, s, http.MethodPut, location+"?digest="+aDigest, "BLOB_UPLOAD_UNKNOWN", 404)
		checkError(t, s, http.MethodDelete, location, "BLOB_UPLOAD_UNKNOWN", 404)
	}
}

// An upload belongs to the user who began it, and to its repository.
func TestUploadsOfOthers(t *testing.T) {
	s := newSite(t, setup{stores: []string{t.TempDir()}, push: &Push{}})
	location := s.begin(t, "team/app", "X-Test-User", "alice")
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		s.change(t, 404, method, location+"?digest="+aDigest, nil, "X-Test-User", "mallory")
		s.change(t, 404, method, strings.Replace(location, "team/app", "team/other", 1)+"?digest="+aDigest, nil, "X-Test-User", "alice")
		s.change(t, 401, method, location+"?digest="+aDigest, nil)
	}
	s.change(t, 201, http.MethodPut, location+"?digest="+aDigest, nil, "X-Test-User", "alice")
}

// Locations have the path that the client requested, wherever the registry is.
func TestLocationsBelowAPrefix(t *testing.T) {
	s := newPush(t)
	s.rewrite = func(r *http.Request) {
		r.URL.Path = strings.Replace(strings.TrimPrefix(r.URL.Path, "/registry"), "/mine/", "/team/app/", 1)
	}
	for _, repository := range []string{"/registry/v2/team/app", "/v2/mine", "/registry/v2/mine"} {
		resp := s.change(t, 202, http.MethodPost, repository+"/blobs/uploads/", nil)
		location := resp.Header.Get("Location")
		if !strings.HasPrefix(location, repository+"/blobs/uploads/") {
			t.Fatalf("Location: %s", location)
		}
		resp = s.change(t, 202, http.MethodPatch, location, []byte("x"))
		if got := resp.Header.Get("Location"); got != location {
			t.Errorf("Location: %s", got)
		}
		d := digest.FromString("x").String()
		resp = s.change(t, 201, http.MethodPut, location+"?digest="+d, nil)
		if got := resp.Header.Get("Location"); got != repository+"/blobs/"+d {
			t.Errorf("Location: %s", got)
		}
		manifest := imageOf(digest.FromString("x"), digest.FromString("x"))
		resp = s.change(t, 201, http.MethodPut, repository+"/manifests/v1", manifest)
		if got := resp.Header.Get("Location"); got != repository+"/manifests/"+digest.FromBytes(manifest).String() {
			t.Errorf("Location: %s", got)
		}
	}
}

// A client that stalls is let go of, and one that breaks off or lies about its length adds
// what it sent and no more.
func TestBodies(t *testing.T) {
	read := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := newBody(w, Request{Request: r}, -1)
		b.patience = 50 * time.Millisecond
		_, err := io.Copy(io.Discard, b)
		b.end()
		read <- err
		w.WriteHeader(http.StatusRequestTimeout)
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome")
	if err := <-read; !isStalled(err) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stalled client: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%v, %v", resp, err)
	}

	conn, err = net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome")
	conn.Close()
	if err := <-read; err == nil || err == io.EOF {
		t.Errorf("a client that breaks off: %v", err)
	}

	for _, test := range []struct {
		sent string
		size int64
		want string
		fail bool
	}{
		{"four", -1, "four", false},
		{"four", 4, "four", false},
		{"", 0, "", false},
		{"four", 3, "fou", true},
		{"four", 5, "four", true},
	} {
		r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(test.sent))
		got, err := io.ReadAll(newBody(httptest.NewRecorder(), Request{Request: r}, test.size))
		if _, is := errors.AsType[*sizeError](err); string(got) != test.want || is != test.fail || err != nil && !is {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

// Blobs and manifests have limits, and what is beyond them takes no room.
func TestLimits(t *testing.T) {
	s := newSite(t, setup{stores: []string{t.TempDir()}, push: &Push{Anonymous: true}, maxBlob: 100})
	content := bytes.Repeat([]byte("x"), 101)
	s.change(t, 413, http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest.FromBytes(content).String(), content)
	location := s.begin(t, "app")
	s.change(t, 202, http.MethodPatch, location, content[:60])
	s.change(t, 413, http.MethodPatch, location, content[:60])
	s.change(t, 404, http.MethodGet, location, nil)
	s.upload(t, "app", content[:100])

	large := append([]byte(`{"schemaVersion":2,"manifests":[]}`), bytes.Repeat([]byte(" "), 4<<20)...)
	resp, body, err := s.send(t, http.MethodPut, "/v2/app/manifests/v1", bytes.NewReader(large))
	if err != nil || resp.StatusCode != 413 || !strings.Contains(string(body), "MANIFEST_INVALID") {
		t.Errorf("%s, %s, %v", resp.Status, body, err)
	}
	resp, body, err = s.send(t, http.MethodPut, "/v2/app/manifests/v1", io.MultiReader(bytes.NewReader(large))) // without a Content-Length
	if err != nil || resp.StatusCode != 413 {
		t.Errorf("%s, %s, %v", resp.Status, body, err)
	}
}
