package lies

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A mode says in which formats a gateway serves content.
type mode int

const (
	full          mode = iota // files, CARs and blocks
	trustlessOnly             // CARs and blocks
	rawOnly                   // blocks
	modes
)

func (m mode) String() string { return [...]string{"full", "trustless", "raw only"}[m] }

// A lyingServer is one server that stands for any number of gateways. The path of a
// gateway says what it lies about. A lie is an answer of a real IPFS node with something
// wrong in it.
type lyingServer struct {
	*httptest.Server
	nodes [modes]string // the URLs of the gateways of honest nodes
	lies  []lie

	answers sync.Map // *answer by mode and request; what a CID addresses never changes

	truthful  *httptest.Server // the same server at another port, since lies break connections
	others    map[form]*answer // answers about another image, for lies that replace an answer
	older     *answer          // a record that its key's owner has replaced
	elsewhere *httptest.Server // the target of redirects that must not be followed
	strayed   atomic.Int64     // the number of requests to elsewhere

	mu       sync.Mutex
	accounts map[string]*account
}

// An account records the answers of one gateway.
type account struct {
	lies   int       // how many lies it told
	honest []*answer // its other answers
}

// newLyingServer starts the server in front of two honest nodes, the second of which is
// trustless-only.
func newLyingServer(t testing.TB, node, trustlessNode *harness.Kubo, lies []lie) *lyingServer {
	t.Helper()
	s := &lyingServer{
		nodes:    [modes]string{node.Gateway, trustlessNode.Gateway, trustlessNode.Gateway},
		lies:     lies,
		accounts: map[string]*account{},
	}
	s.truthful = httptest.NewServer(s)
	t.Cleanup(s.truthful.Close)
	s.elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.strayed.Add(1) }))
	t.Cleanup(s.elsewhere.Close)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = discard
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections() // some lies never end
		s.Close()
	})
	return s
}

// honest is the number that stands for no lie.
func (s *lyingServer) honest() int { return len(s.lies) }

// gateway returns the URL of the gateway with a mode, a lie and a name.
func (s *lyingServer) gateway(m mode, lie int, name string) string {
	url := s.URL
	if lie == s.honest() {
		url = s.truthful.URL
	}
	return fmt.Sprintf("%s/%d/%d/%s", url, m, lie, name)
}

// account returns the account of the gateway with a mode, a lie and a name.
func (s *lyingServer) account(m mode, lie int, name string) account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[fmt.Sprintf("/%d/%d/%s", m, lie, name)]
	if a == nil {
		return account{}
	}
	return account{a.lies, slices.Clone(a.honest)}
}

func (s *lyingServer) note(gateway string, write func(*account)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[gateway]
	if a == nil {
		a = new(account)
		s.accounts[gateway] = a
	}
	write(a)
}

func (s *lyingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(r.URL.Path, "/", 5) // /<mode>/<lie>/<name>/ipfs/…
	if len(parts) < 5 {
		http.NotFound(w, r)
		return
	}
	m, err1 := strconv.Atoi(parts[1])
	i, err2 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil || m < 0 || m >= int(modes) || i < 0 || i > len(s.lies) {
		http.NotFound(w, r)
		return
	}
	gateway := "/" + strings.Join(parts[1:4], "/")
	truth, err := s.ask(r, mode(m), "/"+parts[4])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if i < len(s.lies) && s.lies[i].applies(truth) {
		s.note(gateway, func(a *account) { a.lies++ })
		s.lies[i].tell(&lieBeingTold{w, r, truth, s.lies[i].where(truth), s.others[truth.form], s.older, s.elsewhere.URL})
		return
	}
	s.note(gateway, func(a *account) { a.honest = append(a.honest, truth) })
	truth.write(w)
}

// ask returns the answer of an honest gateway.
func (s *lyingServer) ask(r *http.Request, m mode, path string) (*answer, error) {
	f := formOf(r)
	if f == asRecord {
		m = full // that node has the keys
	}
	if m == rawOnly && f != asBlock && f != asRecord {
		return &answer{form: f, status: http.StatusNotAcceptable, header: http.Header{}}, nil
	}
	key := fmt.Sprint(m, path, r.URL.RawQuery, r.Header["Range"])
	if a, known := s.answers.Load(key); known {
		return a.(*answer), nil
	}
	// The request does not have the client's context, since other clients may wait for
	// this answer as well.
	req, err := http.NewRequest(http.MethodGet, s.nodes[m]+path+"?"+r.URL.RawQuery, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Accept", "Range"} {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := plainly.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{form: f, status: resp.StatusCode, header: resp.Header, body: body, path: path}
	a.findPlaces()
	s.answers.Store(key, a)
	return a, nil
}

// plainly accepts no compression and follows no redirects.
var plainly = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: harness.NoRedirects.CheckRedirect,
	Timeout:       harness.Patience,
}

// learnOther sets the answers about another image.
func (s *lyingServer) learnOther(t *testing.T, im *picture) {
	t.Helper()
	base := "/ipfs/" + im.cid + "/" + harness.ImageName
	s.others = map[form]*answer{
		asFile:   s.learn(t, base+"/blobs/"+im.layer+"?"),
		asCAR:    s.learn(t, base+"/manifests/v1?format=car&car-dups=y&dag-scope=entity&car-order=dfs"),
		asBlock:  s.learn(t, "/ipfs/"+im.cid+"?format=raw"),
		asRecord: s.learn(t, recordOf(im.key)),
	}
}

func (s *lyingServer) learn(t *testing.T, path string) *answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	a, err := s.ask(r, full, r.URL.Path)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%s: %v", path, err)
	}
	return a
}

func recordOf(key string) string { return "/ipns/" + key + "?format=ipns-record" }

// An answer is an answer of an honest gateway.
type answer struct {
	form
	path   string
	status int
	header http.Header
	body   []byte
	places map[place]span
}

// A form is the format that a request asks for.
type form int

const (
	asFile form = iota
	asCAR
	asBlock
	asRecord // of an IPNS key
)

func formOf(r *http.Request) form {
	switch r.URL.Query().Get("format") {
	case "car":
		return asCAR
	case "raw":
		return asBlock
	case "ipns-record":
		return asRecord
	}
	return asFile
}

func (a *answer) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// isContent reports whether the answer has content. There is nothing to lie about in a
// refusal.
func (a *answer) isContent() bool {
	return a.status == http.StatusOK || a.status == http.StatusPartialContent
}

// proves reports whether the answer can prove that something exists, or that it does not.
func (a *answer) proves() bool { return a.isContent() && (a.form == asCAR || a.form == asBlock) }
