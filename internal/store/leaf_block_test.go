package store

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A leaf that two blobs have is there until both are removed.
func TestLeafOfTwoBlobsOutlivesEither(t *testing.T) {
	s := Open(t.TempDir())
	shared := strings.Repeat("shared", unixfs.MaxLeaf)[:1<<20]
	put(t, s, unixfs.V1, shared+"one", shared+"two")
	table := unixfs.V1.NewTable()
	table.Add([]byte(shared))
	leaves, leaf := s.NewLeafBlocks(), table.CID(0)
	for left := 2; left >= 0; left-- {
		block, err := leaves.Open(t.Context(), leaf)
		if left == 0 {
			if !errors.Is(err, ErrLacking) {
				t.Errorf("without a blob that has it: %v", err)
			}
			break
		}
		if err != nil {
			t.Fatalf("with %d blobs that have it: %v", left, err)
		}
		content, err := io.ReadAll(block)
		check(t, err)
		check(t, block.Close())
		if string(content) != shared {
			t.Errorf("with %d blobs: %d other bytes", left, len(content))
		}
		blob, _, _ := leaves.index.find(table.Leaves[0].Digest)
		check(t, os.Remove(s.blobPath(blob.digest)))
	}
}

// A removed blob makes the index read all leaf tables again, but not for each request.
func TestLeafIndexLearnsAgainRarely(t *testing.T) {
	x := Open(t.TempDir()).NewLeafIndex()
	var did int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			again, err := x.LearnAgain(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if again {
				did++
			}
		})
	}
	all.Wait()
	if did != 1 {
		t.Errorf("it learned again %d times", did)
	}
}
