package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
)

// A requestLog is an HTTP server that records its requests.
type requestLog struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// serve serves requests with answer, which may be nil.
func serve(t *testing.T, answer http.HandlerFunc) *requestLog {
	t.Helper()
	s := new(requestLog)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		http.Error(w, `{"Message":"could not find it"}`, http.StatusInternalServerError)
	}))
	t.Cleanup(s.Close)
	return s
}

// headers returns the different values of a header, and "" for requests without it.
func (s *requestLog) headers(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := []string{}
	for _, r := range s.requests {
		values = append(values, r.Header.Get(name))
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// asked reports whether a request's path names the CID.
func (s *requestLog) asked(c cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.requests, func(r *http.Request) bool { return strings.Contains(r.URL.Path, c.String()) })
}

// gatewayOf serves the blocks of a CAR file.
func gatewayOf(t *testing.T, file string) *requestLog {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := car.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := cid.Decode(path.Base(r.URL.Path))
		if err != nil || r.URL.Query().Get("format") != "raw" {
			http.NotFound(w, r)
			return
		}
		block, found, err := blocks.Block(c)
		if !found || err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.ipld.raw")
		w.Write(block)
	})
}

// imageIn converts an image of one layer into the place that the flags name, and
// returns its root.
func imageIn(t *testing.T, tag string, flags ...string) cid.Cid {
	t.Helper()
	stdout, err := run(t, append(flags, "-i", archiveOf(t, tag), "--quiet")...)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := parseReference(strings.TrimSpace(stdout))
	if err != nil {
		t.Fatal(err)
	}
	return ref.root
}

// archiveOf writes an archive as docker save does, of an image of one layer.
func archiveOf(t *testing.T, tag string) string {
	t.Helper()
	layer := tarOf(t, map[string]string{"etc/" + tag: strings.Repeat(tag, 1000)})
	diffID := digest.FromBytes(layer).String()
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + diffID + `"]}}`
	archive := tarOf(t, map[string]string{
		"layer.tar":     string(layer),
		"config.json":   config,
		"manifest.json": `[{"Config":"config.json","RepoTags":["` + tag + `"],"Layers":["layer.tar"]}]`,
	})
	file := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func tarOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[name])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const someRoot = "ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy"

// A token belongs to one node and is sent to no other.
func TestTokenGoesToOneNode(t *testing.T) {
	t.Setenv("IPFS_API", "")
	t.Setenv("SECRET", "from-env")
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args []string // with FROM and TO for the nodes
		want string   // what FROM is sent
	}{
		"of the destination":               {[]string{"copy", someRoot, "--from", "FROM", "--ipfs-api", "TO", "--ipfs-api-token", "secret"}, ""},
		"of the source":                    {[]string{"copy", someRoot, "--from", "FROM", "--from-token", "secret", "--ipfs-api", "TO"}, "Bearer secret"},
		"of each":                          {[]string{"copy", someRoot, "--from", "FROM", "--from-token", "one", "--ipfs-api", "TO", "--ipfs-api-token", "two"}, "Bearer one"},
		"of the only node":                 {[]string{"copy", someRoot, "--from", "FROM", "--ipfs-api-token", "secret", "--store", dir}, "Bearer secret"},
		"of a node that is both":           {[]string{"repair", someRoot, "--from", "FROM", "--ipfs-api", "FROM", "--ipfs-api-token", "secret"}, "Bearer secret"},
		"in a variable":                    {[]string{"copy", someRoot, "--from", "FROM", "--from-token", "{env.SECRET}", "--store", dir}, "Bearer from-env"},
		"for reading, as it was spelled":   {[]string{"verify", someRoot, "--ipfs-api", "FROM", "--ipfs-api-token", "secret"}, "Bearer secret"},
		"for reading":                      {[]string{"export", someRoot, "--from", "FROM", "--from-token", "secret", "-o", filepath.Join(dir, "x")}, "Bearer secret"},
		"of a destination, in a variable":  {[]string{"copy", someRoot, "--from", "FROM", "--ipfs-api", "TO", "--ipfs-api-token", "{env.SECRET}"}, ""},
		"of a destination of a repair":     {[]string{"repair", someRoot, "--from", "FROM", "--ipfs-api", "TO", "--ipfs-api-token", "secret"}, ""},
		"of the source of a repair":        {[]string{"repair", someRoot, "--from", "FROM", "--from-token", "secret", "--ipfs-api", "TO"}, "Bearer secret"},
		"for inspect":                      {[]string{"inspect", someRoot, "--from", "FROM", "--from-token", "secret", "--store", dir}, "Bearer secret"},
		"for verify":                       {[]string{"verify", someRoot, "--from", "FROM", "--from-token", "secret"}, "Bearer secret"},
		"of a base":                        {[]string{"--onto", someRoot, "--from", "FROM", "--from-token", "secret", "--ipfs-api", "TO", "-i", os.DevNull}, "Bearer secret"},
		"of a destination, and for --onto": {[]string{"--onto", someRoot, "--from", "FROM", "--ipfs-api", "TO", "--ipfs-api-token", "secret", "-i", os.DevNull}, ""},
	} {
		from, to := serve(t, nil), serve(t, nil)
		args := slices.Clone(test.args)
		for i, arg := range args {
			args[i] = strings.NewReplacer("FROM", from.URL, "TO", to.URL).Replace(arg)
		}
		if _, err := run(t, args...); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if got := from.headers("Authorization"); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: the source was sent %q, want %q", name, got, test.want)
		}
		if sent := to.headers("Authorization"); test.want != "" && slices.Contains(sent, test.want) {
			t.Errorf("%s: the destination was sent %q as well", name, sent)
		}
	}
}

// A header goes to the gateway before it on the command line, and to no other.
func TestHeaderGoesToOneGateway(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "app.car")
	root := imageIn(t, "app:v1", "--car", file)
	open, own := serve(t, http.NotFound), gatewayOf(t, file)
	if _, err := run(t, "verify", root.String(), "--gateway", open.URL, "--gateway", own.URL, "--gateway-header", "Authorization: Bearer {file."+secret+"}"); err != nil {
		t.Fatal(err)
	}
	if got := open.headers("Authorization"); !slices.Equal(got, []string{""}) {
		t.Errorf("the other gateway was sent %q", got)
	}
	if got := own.headers("Authorization"); !slices.Equal(got, []string{"Bearer s3cret"}) {
		t.Errorf("its gateway was sent %q", got)
	}
	for _, test := range []struct{ header, says string }{
		{"s3cret", `"Name: value"`},
		{"X Y: s3cret", `"Name: value"`},
		{"Host: s3cret", "Host is set by converter itself"},
		{"X-Key: {env.NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE is not set"},
		{"X-Key: {file." + secret + ".not}", secret + ".not"},
		{"X-Key: s3cret\r\nY: z", "control characters"},
	} {
		_, err := run(t, "verify", root.String(), "--gateway", own.URL, "--gateway-header", test.header)
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error is %v, want one with %q and without the secret", test.header, err, test.says)
		}
	}
	if _, err := run(t, "verify", root.String(), "--gateway-header", "X-Key: s3cret", "--gateway", own.URL); err == nil || !strings.Contains(err.Error(), "the --gateway before it") {
		t.Errorf("a header before its gateway: %v", err)
	}
}

// A gateway may be behind a Unix socket, as Caddy spells it.
func TestGatewayBehindUnixSocket(t *testing.T) {
	file, socket := filepath.Join(t.TempDir(), "app.car"), filepath.Join(t.TempDir(), "Gateway.sock")
	root := imageIn(t, "app:v1", "--car", file)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: gatewayOf(t, file).Config.Handler}
	go server.Serve(l)
	defer server.Close()
	if stdout, err := run(t, "verify", root.String(), "--gateway", "unix/"+socket); err != nil || !strings.Contains(stdout, "blocks") {
		t.Errorf("verify prints %q, %v", stdout, err)
	}
}

// No gateway is asked for roots that only the own store has. Inspect compares the image
// with those of the own store.
func TestInspectDoesNotTellGatewaysWhatTheStoreHas(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "app.car")
	private := imageIn(t, "private:v1", "--store", dir)
	imageIn(t, "app:v1", "--store", dir)
	root := imageIn(t, "app:v1", "--car", file)
	gateway := gatewayOf(t, file)
	stdout, err := run(t, "inspect", root.String(), "--gateway", gateway.URL, "--store", dir)
	if err != nil || !strings.Contains(stdout, "with other images in "+dir) || strings.Contains(stdout, "in 0 leaves, with") {
		t.Errorf("inspect prints %q, %v", stdout, err)
	}
	if !gateway.asked(root) || gateway.asked(private) {
		t.Error("the gateway was asked for an image that only the store has")
	}
}

// No command asks a gateway for anything but the blocks of the image that it reads there.
func TestGatewaysAreAskedOnlyForTheImageThatTheyHave(t *testing.T) {
	t.Setenv("IPFS_API", "")
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "app.car")
	private := imageIn(t, "private:v1", "--store", dir).String()
	root := imageIn(t, "app:v1", "--car", file).String()
	archive := archiveOf(t, "new:v1")
	for name, args := range map[string][]string{
		"copy":           {"copy", root, "--store", dir},
		"copy onto":      {"copy", root, "--store", dir, "--onto", private},
		"copy to a file": {"copy", root, "--car", filepath.Join(t.TempDir(), "x.car")},
		"convert onto":   {"-i", archive, "--onto", root, "--store", dir},
		"repair":         {"repair", root, "--store", dir},
		"export":         {"export", root, "-o", filepath.Join(t.TempDir(), "x.tar")},
		"verify":         {"verify", root},
		"inspect":        {"inspect", root, "--store", dir},
	} {
		of := gatewayOf(t, file)
		unknown := []string{}
		gateway := serve(t, func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			of.Config.Handler.ServeHTTP(answer, r)
			raw := httptest.NewRecorder() // whether there is such a block
			of.Config.Handler.ServeHTTP(raw, httptest.NewRequest(http.MethodGet, r.URL.Path+"?format=raw", nil))
			if raw.Code != http.StatusOK {
				unknown = append(unknown, r.Method+" "+r.URL.String())
			}
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			w.Write(answer.Body.Bytes())
		})
		_, err := run(t, append(args, "--gateway", gateway.URL)...)
		if repaired := errors.Is(err, converter.ErrNothingToRepair); err != nil && !repaired {
			t.Errorf("%s: %v", name, err)
		}
		gateway.mu.Lock()
		if len(gateway.requests) == 0 || len(unknown) > 0 {
			t.Errorf("%s: of %d requests these are for something else: %q", name, len(gateway.requests), unknown)
		}
		gateway.mu.Unlock()
	}
}

// Verify reads from the place that the flags name, and its result depends on that place
// alone.
func TestVerifyIsOfOnePlace(t *testing.T) {
	t.Setenv("IPFS_API", "")
	gateway := serve(t, http.NotFound)
	for _, flag := range []string{"--gateway", "--ipfs-api", "--from"} {
		if _, err := run(t, "verify", "--all", flag, gateway.URL); err == nil || !strings.Contains(err.Error(), "--all is for a store or a CAR file") {
			t.Errorf("verify --all %s: %v", flag, err)
		}
	}
	if len(gateway.requests) > 0 {
		t.Errorf("%s was asked for", gateway.requests[0].URL)
	}
	dir := t.TempDir()
	for args, want := range map[string]placeKind{
		"":                     storePlace,
		"--store " + dir:       storePlace,
		"--from " + dir:        storePlace,
		"--car x.car":          carPlace,
		"--ipfs-api x:1":       nodePlace,
		"--from http://x:1":    nodePlace,
		"--from localhost:1":   nodePlace,
		"--gateway http://x:1": gatewayPlace,
	} {
		var f sourceFlags
		cmd := newVerifyCommand()
		cmd.ResetFlags()
		f.registerReadOnly(cmd)
		if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if at, err := f.place(cmd.Flags()); err != nil || at.kind != want {
			t.Errorf("%q is a place of kind %d, %v; want %d", args, at.kind, err, want)
		}
	}
	at := place{kind: gatewayPlace, gateways: []origin.Gateway{{URL: gateway.URL}}}
	v := verification{at: at, stdout: io.Discard, logf: t.Logf, roots: []cid.Cid{}}
	if err := v.open(t.Context(), []string{someRoot}); err != nil || v.at.isStore() {
		t.Errorf("a gateway is taken for a store: %v", err)
	}
}

// Control characters in archives and manifests do not reach a terminal.
func TestNoControlCharactersReachATerminal(t *testing.T) {
	const evil = "a\x1b]52;c;cm0=\x07\u009b\u202eb"
	if got := shortName(evil); strings.ContainsAny(got, "\x1b\x07\u009b\u202e") {
		t.Errorf("a bar is called %q", got)
	}
	var b strings.Builder
	if err := printJSON(&b, map[string]string{"name": evil + "\U000e0001"}, "\t"); err != nil {
		t.Fatal(err)
	}
	if want := "{\n\t\"name\": \"a\\u001b]52;c;cm0=\\u0007\\u009b\\u202eb\\udb40\\udc01\"\n}\n"; b.String() != want {
		t.Errorf("JSON is %q, want %q", b.String(), want)
	}
}

// The errors for a full disk and for a missing temporary directory name the path and what
// to do.
func TestFullDiskHasAWayOut(t *testing.T) {
	archive := archiveOf(t, "app:v1")
	t.Setenv("TMPDIR", "/somewhere")
	for _, test := range []struct {
		path string
		err  error
		want string
	}{
		{"/somewhere/converter-1/blob-2", syscall.ENOSPC, "TMPDIR"},
		{"/somewhere/converter-1", fs.ErrNotExist, "TMPDIR"},
		{"/srv/images/tmp/x", syscall.ENOSPC, "`converter gc`"},
	} {
		err := withHint(fmt.Errorf("storing: %w", &fs.PathError{Op: "write", Path: test.path, Err: test.err}))
		if s := err.Error(); !strings.Contains(s, test.path) || !strings.Contains(s, test.want) {
			t.Errorf("the error is %q, want one with %s", s, test.want)
		}
	}
	if _, err := run(t, "--ipfs-api", "http://127.0.0.1:1", "-i", archive); err == nil || !strings.Contains(withHint(err).Error(), "/somewhere") || !strings.Contains(withHint(err).Error(), "TMPDIR") {
		t.Errorf("without a temporary directory: %v", err)
	}
}
