package provide

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// lackingCID is the CID of content that no store has.
const lackingCID = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"

// Every request gets its status, and the header fields that keep browsers and caches right.
func TestAnswers(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	root := "/ipfs/" + s.root.String()
	blob := "/ipfs/" + s.built[blobPath].CID.String()
	for _, row := range []struct {
		path   string
		accept string
		status int
		kind   string // media type
	}{
		{root + "/" + manifestPath, "", 200, fileType},
		{root + "/" + blobPath, "*/*", 200, fileType},
		{blob, "text/html", 200, fileType},
		{blob + "?format=raw", "", 200, rawType},
		{blob + "?format=raw", carType, 200, rawType},
		{blob, carType + "; version=1; order=dfs; dups=y", 200, carType + "; version=1; order=dfs; dups=n"},
		{blob + "?dag-scope=entity", carType + "; dups=y", 200, carType + "; version=1; order=dfs; dups=y"},
		{blob + "?format=car&car-dups=n&dag-scope=block", carType + "; dups=y", 200, carType + "; version=1; order=dfs; dups=n"},
		{"/ipfs/bafkqaaa?format=raw", "", 200, rawType},
		{"/ipfs/bafkqaaa?format=car", "", 200, carType + "; version=1; order=dfs; dups=n"},
		{root + "/team/none?format=car", "", 200, carType + "; version=1; order=dfs; dups=n"},

		{root, "", 404, ""},
		{root + "/team/none", "", 404, ""},
		{root + "/team/none?format=raw", "", 404, ""},
		{"/ipfs/" + lackingCID, "", 404, ""},
		{"/ipfs/" + lackingCID + "?format=raw", "", 404, ""},
		{"/ipfs/" + lackingCID + "?format=car", "", 404, ""},
		{"/ipfs/" + lackingCID + "/team?format=car", "", 404, ""},
		{blob + "?format=tar", "", 406, ""},
		{blob + "?format=dag-json", "", 406, ""},
		{blob + "?format=car&car-version=2", "", 406, ""},
		{blob + "?format=car&car-order=bfs", "", 406, ""},
		{blob + "?format=car&car-dups=x", "", 406, ""},
		{blob + "?format=car&dag-scope=some", "", 400, ""},
		{blob + "?format=car&entity-bytes=1", "", 400, ""},
		{blob + "?format=car&entity-bytes=*:1", "", 400, ""},
		{blob + "?format=car&entity-bytes=1:x", "", 400, ""},
		{blob + "?format=ipns-record", "", 400, ""},
		{blob + "/" + strings.Repeat("x", maxPath+1), "", 414, ""},
		{"/ipns/k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r?format=ipns-record", "", 404, ""},

		{"/", "", http.StatusTeapot, ""},
		{"/ipfs/", "", http.StatusTeapot, ""},
		{"/ipfs/hello", "", http.StatusTeapot, ""},
		{"/ipns/example.com?format=ipns-record", "", http.StatusTeapot, ""},
		{"/ipns/k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r", "", http.StatusTeapot, ""},
		{"/v2/", "", http.StatusTeapot, ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			header := []string{}
			if row.accept != "" {
				header = []string{"Accept", row.accept}
			}
			resp, body, err := s.get(t, method, row.path, header...)
			if err != nil || resp.StatusCode != row.status {
				t.Errorf("%s %.200s: %s, want %d, %v", method, row.path, resp.Status, row.status, err)
				continue
			}
			if row.status == http.StatusTeapot {
				continue
			}
			h := resp.Header
			if h.Get("Vary") != "Accept" || h.Get("X-Content-Type-Options") != "nosniff" || method == "HEAD" && len(body) > 0 {
				t.Errorf("%s %s: %v", method, row.path, h)
			}
			if row.status != 200 {
				if h.Get("Cache-Control") != "no-store, no-transform" || h.Get("ETag") != "" || h.Get("Content-Type") != "text/plain; charset=utf-8" {
					t.Errorf("%s %s: %v", method, row.path, h)
				}
				continue
			}
			if h.Get("Content-Type") != row.kind || h.Get("ETag") == "" || h.Get("Cache-Control") != "public, max-age=29030400, immutable, no-transform" ||
				!strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=") ||
				(h.Get("Content-Security-Policy") == "") != (row.kind != fileType) {
				t.Errorf("%s %s: %v", method, row.path, h)
			}
			again, body, err := s.get(t, method, row.path, append(header, "If-None-Match", h.Get("ETag"))...)
			if again.StatusCode != 304 || len(body) > 0 || err != nil {
				t.Errorf("%s %s again: %s, %v", method, row.path, again.Status, err)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if resp, _, _ := s.get(t, method, blob); resp.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
}

// Answers that differ have different entity tags.
func TestEntityTagsTellAnswersApart(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	tags := map[string]string{}
	blob := "/ipfs/" + s.built[blobPath].CID.String()
	for _, path := range []string{
		blob, blob + "?format=raw", blob + "?format=car", blob + "?format=car&dag-scope=block", blob + "?format=car&dag-scope=entity",
		blob + "?format=car&dag-scope=entity&car-dups=y", blob + "?format=car&entity-bytes=0:1", blob + "?format=car&entity-bytes=0:*",
		"/ipfs/" + s.root.String() + "/team?format=car", "/ipfs/" + s.root.String() + "/many?format=car",
	} {
		resp, _, _ := s.get(t, "HEAD", path)
		tag := resp.Header.Get("ETag")
		if other, taken := tags[tag]; taken {
			t.Errorf("%s and %s have the tag %s", path, other, tag)
		}
		tags[tag] = path
	}
}

// Clients that may have shown credentials get answers that shared caches do not keep.
func TestAnswersToCredentialsArePrivate(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	r := httptest.NewRequest("GET", "/ipfs/"+s.root.String()+"?format=raw", nil)
	req, _ := Parse(r)
	req.Private = true
	w := httptest.NewRecorder()
	check(t, s.provider.Serve(w, req))
	if cache := w.Header().Get("Cache-Control"); !strings.HasPrefix(cache, "private, ") {
		t.Error(cache)
	}
}

// The record of the own root is served only by the root's name. Caches may keep it for its
// TTL.
func TestRecordOfTheOwnRoot(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	root := s.store.Root()
	name, err := root.EnsureKey(t.Context())
	check(t, err)
	path := "/ipns/" + name + "?format=ipns-record"
	if resp, _, _ := s.get(t, "GET", path); resp.StatusCode != 404 {
		t.Errorf("a root without a state: %s", resp.Status)
	}
	check(t, root.SetTTL(7*time.Second))
	put := func(tag string) cid.Cid {
		t.Helper()
		done, err := root.Change(t.Context(), func(ctx context.Context, d *store.Draft) error {
			file, err := d.AddFile([]byte(tag))
			if err != nil {
				return err
			}
			d.Note(store.Action{What: "push", Name: "app", Reference: tag, Digest: digest.FromString(tag)})
			return d.Edit(ctx, map[string]*unixfs.Node{"app/manifests/" + tag: &file})
		})
		check(t, err)
		return done.State.Root
	}
	tag := ""
	for _, content := range []string{"v1", "v2"} {
		state := put(content)
		resp, body, err := s.get(t, "GET", path)
		check(t, err)
		key, err := ipns.ParseName(name)
		check(t, err)
		record, err := ipns.ReadRecord(body, key)
		check(t, err)
		value, err := record.Value()
		check(t, err)
		h := resp.Header
		if value != "/ipfs/"+state.String() || h.Get("Content-Type") != recordType || h.Get("Cache-Control") != "public, max-age=7, no-transform" || h.Get("ETag") == tag {
			t.Errorf("%s of %s: %v", value, state, h)
		}
		tag = h.Get("ETag")
		if again, _, _ := s.get(t, "HEAD", path, "If-None-Match", tag); again.StatusCode != 304 {
			t.Error(again.Status)
		}
		if head, _, _ := s.get(t, "HEAD", path); head.StatusCode != 200 || head.ContentLength != int64(len(body)) {
			t.Errorf("%s, %d bytes", head.Status, head.ContentLength)
		}
	}
	if resp, _, _ := s.get(t, "GET", "/ipns/"+name+"/app?format=ipns-record"); resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
}

// Range requests for a file are answered as HTTP specifies.
func TestRangesOfFiles(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	content := s.files[blobPath]
	resp, body, err := s.get(t, "GET", "/ipfs/"+s.root.String()+"/"+blobPath, "Range", "bytes=100-199")
	if err != nil || resp.StatusCode != 206 || !bytes.Equal(body, content[100:200]) {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
	resp, _, _ = s.get(t, "GET", "/ipfs/"+s.root.String()+"/"+blobPath, "Range", fmt.Sprintf("bytes=%d-", len(content)))
	if resp.StatusCode != 416 {
		t.Error(resp.Status)
	}
}

// Content that a deny list names is not served in any form, nor is anything that contains it.
func TestDeniedContent(t *testing.T) {
	list := filepath.Join(t.TempDir(), "deny")
	check(t, os.WriteFile(list, nil, 0o600))
	var refused int
	var lists *denylist.Lists
	s := newSite(t, unixfs.V1, func(c *Config) {
		var err error
		lists, err = denylist.Open([]string{list}, nil)
		check(t, err)
		c.Lists, c.Refused = lists, func(error) { refused++ }
	})
	root := "/ipfs/" + s.root.String()
	team := s.trail(t, "team")[0]
	file := s.built[blobPath]
	leaf := file.Table.CID(1).String()
	for rule, denied := range map[string]map[string]bool{ // by path; true for an answer that is cut off
		"/ipfs/" + leaf: {
			"/ipfs/" + leaf + "?format=raw": false, "/ipfs/" + leaf: false, "/ipfs/" + leaf + "?format=car": false,
			"/ipfs/" + file.CID.String() + "?format=car": true, root + "?format=car": true, root + "/" + blobPath + "?format=car&dag-scope=entity": true,
		},
		"/ipfs/" + file.CID.String(): {
			"/ipfs/" + file.CID.String() + "?format=raw": false, root + "/" + blobPath: false, root + "/" + blobPath + "?format=car&dag-scope=block": false,
			root + "?format=car": true,
		},
		"/ipfs/" + team.String(): {
			root + "/" + manifestPath: false, root + "/team/none?format=car": false, root + "/team/none": false, "/ipfs/" + team.String() + "/app?format=car": false, root + "?format=car": true,
		},
		"/ipfs/" + s.root.String() + "/team/app/*": {
			root + "/" + manifestPath: false, root + "/team/app/none?format=car": false, root + "?format=car": true,
		},
		"/ipfs/" + team.String() + "/app/manifests/v1": {
			root + "/" + manifestPath: false, root + "?format=car": true, "/ipfs/" + team.String() + "?format=car": true,
		},
	} {
		check(t, os.WriteFile(list, []byte(rule+"\n"), 0o600))
		check(t, lists.Reload())
		refused = 0
		for path, isCut := range denied {
			resp, _, err := s.get(t, "GET", path)
			if isCut && err == nil || !isCut && resp.StatusCode != 410 {
				t.Errorf("with %s, %s: %s, %v", rule, path, resp.Status, err)
			}
		}
		if refused == 0 {
			t.Errorf("no refusal by %s was counted", rule)
		}
		if resp, _, err := s.get(t, "GET", root+"/many?format=car"); resp.StatusCode != 200 || err != nil {
			t.Errorf("with %s, the rest: %s, %v", rule, resp.Status, err)
		}
	}
}

// A damaged node is not served, and it proves no absence.
func TestDamagedNodes(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	team := s.trail(t, "team")[0]
	name := cid.NewCidV1(team.Type(), team.Hash()).String()
	path := filepath.Join(s.store.Dir(), "nodes", name[len(name)-3:len(name)-1], name)
	check(t, os.Chmod(path, 0o600))
	data, err := os.ReadFile(path)
	check(t, err)
	data[len(data)-1] ^= 1
	check(t, os.WriteFile(path, data, 0o600))
	for _, below := range []string{"/team/none?format=car", "/team?format=raw", "/" + manifestPath} {
		if resp, _, _ := s.get(t, "GET", "/ipfs/"+s.root.String()+below); resp.StatusCode != 500 {
			t.Errorf("%s: %s", below, resp.Status)
		}
	}
	if resp, _, err := s.get(t, "GET", "/ipfs/"+s.root.String()+"?format=car"); resp.StatusCode != 200 || err == nil {
		t.Errorf("a CAR with a damaged node is whole: %s", resp.Status)
	}
}

// Nodes that are linked again and again cost no more than the blocks that are sent.
func TestHostileDAGsEndSoon(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	cache := s.store.NewCache(store.CacheConfig{MaxSize: 1 << 30})
	// Directories: each level links to the one below a hundred times.
	dir := unixfs.Node{CID: s.built[manifestPath].CID, Size: 20}
	for range 40 {
		entries := map[string]unixfs.Node{}
		for i := range 100 {
			entries[fmt.Sprint(i)] = dir
		}
		var err error
		dir, err = unixfs.V1.Directory(t.Context(), entries, func(b unixfs.Block) error {
			cache.AddNode(b)
			return nil
		})
		check(t, err)
	}
	// A file: each node has the one below a thousand times.
	table, leaf := unixfs.V1.NewTable(), make([]byte, unixfs.MaxLeaf)
	sum := sha256.Sum256(leaf)
	for range 1 << 18 {
		table.Leaves = append(table.Leaves, unixfs.Leaf{Digest: sum, End: table.Size() + unixfs.MaxLeaf})
	}
	file, err := unixfs.V1.Layout(table)
	check(t, err)
	for _, b := range file.Nodes {
		cache.AddNode(b)
	}
	cache.AddNode(table.Block(0, leaf))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, c := range []cid.Cid{dir.CID, file.CID} {
		for _, query := range []string{"", "&dag-scope=entity", "&car-dups=y"} {
			r := httptest.NewRequest("GET", "/ipfs/"+c.String()+"?format=car"+query, nil).WithContext(ctx)
			req, _ := Parse(r)
			w := httptest.NewRecorder()
			check(t, s.provider.Serve(w, req))
			if n := len(carOf(t, w.Body.Bytes())); n > 50 {
				t.Errorf("%s of %s: %d blocks", query, c, n)
			}
		}
	}
}

// A shard that links to one node from each of its slots is no directory, and costs no more
// than the nodes that it has.
func TestHostileShardsEndSoon(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	cache := s.store.NewCache(store.CacheConfig{MaxSize: 1 << 30})
	empty, err := unixfs.V1.Directory(t.Context(), nil, func(b unixfs.Block) error {
		cache.AddNode(b)
		return nil
	})
	check(t, err)
	shard := empty.CID
	for range 8 {
		b := shardOf(t, shard)
		cache.AddNode(b)
		shard = b.CID
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, query := range []string{"", "&dag-scope=entity", "&dag-scope=entity&car-dups=y"} {
		r := httptest.NewRequest("GET", "/ipfs/"+shard.String()+"?format=car"+query, nil).WithContext(ctx)
		req, _ := Parse(r)
		w := httptest.NewRecorder()
		check(t, s.provider.Serve(w, req))
		if n := len(carOf(t, w.Body.Bytes())); n > 9 {
			t.Errorf("%s: %d blocks", query, n)
		}
	}
}

// shardOf returns a node of a sharded directory. All its 256 links lead to one block.
func shardOf(t *testing.T, c cid.Cid) unixfs.Block {
	t.Helper()
	field := func(b []byte, tag byte, data []byte) []byte {
		return append(binary.AppendUvarint(append(b, tag), uint64(len(data))), data...)
	}
	var data []byte
	for slot := range 256 {
		link := field(field(nil, 0x0a, c.Bytes()), 0x12, fmt.Appendf(nil, "%02X", slot))
		data = field(data, 0x12, append(link, 0x18, 1))
	}
	message := append(field([]byte{0x08, 5}, 0x12, bytes.Repeat([]byte{0xff}, 32)), 0x28, mh.MURMUR3X64_64, 0x30, 0x80, 2)
	data = field(data, 0x0a, message)
	hash, err := mh.Sum(data, mh.SHA2_256, -1)
	check(t, err)
	return unixfs.Block{CID: cid.NewCidV1(cid.DagProtobuf, hash), Data: data}
}

// If a leaf cannot be read, the answer is a failure and does not name the file.
func TestDamagedBlobs(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	content, blob := s.files[blobPath], s.built[blobPath]
	leaf := "/ipfs/" + blob.Table.CID(0).String() + "?format=raw"
	if resp, _, _ := s.get(t, "GET", leaf); resp.StatusCode != http.StatusOK {
		t.Fatalf("a leaf: %s", resp.Status)
	}
	file, err := s.store.OpenBlob(digest.FromBytes(content), int64(len(content)))
	check(t, err)
	check(t, file.Close())
	check(t, os.Chmod(file.Name(), 0o600))
	check(t, os.Truncate(file.Name(), 1))
	req, _ := Parse(httptest.NewRequest("GET", leaf, nil))
	w := httptest.NewRecorder()
	err = s.provider.Serve(w, req)
	if failure, ok := errors.AsType[*Failure](err); !ok || failure.Status != http.StatusInternalServerError {
		t.Errorf("a leaf of a damaged blob: %v, and the client got %q", err, w.Body)
	}
}
