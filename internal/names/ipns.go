package names

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// ErrExpired says that the newest record of a key is no longer valid. It wraps
// fs.ErrNotExist: the key stands for nothing now.
var ErrExpired = fmt.Errorf("its owner has to publish again: %w", fs.ErrNotExist)

// keys looks up what IPNS keys stand for.
type keys struct {
	pool   *gateway.Pool // nil if there are no gateways
	disk   *disk
	failed func(Name, error)

	mu   sync.Mutex
	seen *simplelru.LRU[Name, record]
}

func newKeys(pool *gateway.Pool, dir string, failed func(Name, error)) *keys {
	seen, err := simplelru.NewLRU[Name, record](maxNames, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &keys{pool: pool, disk: &disk{dir: dir}, failed: failed, seen: seen}
}

// opinions is how many gateways are asked for a record. A single one could keep
// what is new from us for as long as an old record is valid.
const opinions = 2

var errEnough = errors.New("one gateway answered, and no other in time")

// lookup asks gateways for the newest record. Where none answers, the newest
// that was ever seen will do while it is valid.
func (k *keys) lookup(ctx context.Context, n Name) (link, error) {
	if k.pool == nil {
		return link{}, fmt.Errorf("%s: there is no gateway to ask for IPNS records", n)
	}
	newest := k.recall(n)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	answers := 0
	err := k.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipns", n.String()),
		Format: gateway.IPNSRecord,
		Accept: func(resp *http.Response) error {
			r, err := k.read(resp, n, newest)
			if err != nil {
				return err
			}
			newest = r
			if r.expired() {
				return gateway.Soft(expiredError(n, r))
			}
			if answers++; answers == opinions {
				return nil
			}
			time.AfterFunc(hurry, func() { stop(errEnough) })
			return gateway.ErrMore
		},
		Failed: func(f gateway.Failure) { k.failed(n, f) },

		Verified: true,
	})
	switch {
	case newest == nil:
		return link{}, fmt.Errorf("looking for a record of %s: %w", n, err)
	case newest.expired():
		return link{}, expiredError(n, newest)
	case newest.useless != "":
		return link{}, fmt.Errorf("the record of %s: %s: %w", n, newest.useless, errUseless)
	case answers == 0:
		return newest.link().stale(), nil
	}
	return newest.link(), nil
}

func expiredError(n Name, r *record) error {
	return fmt.Errorf("the record of %s expired on %s: %w", n, r.expires.UTC().Format(time.DateTime), ErrExpired)
}

// read reads a gateway's answer, and remembers it if nothing newer is known. A
// gateway may honestly not know yet what is newer.
func (k *keys) read(resp *http.Response, n Name, newest *record) (*record, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxRecord+1))
	if err != nil {
		return nil, err
	}
	r, err := readRecord(data, n)
	if err != nil {
		return nil, err
	}
	if newest != nil && newest.newer(r) {
		return nil, gateway.Soft(fmt.Errorf("record %d until %s, where %d until %s is known",
			r.sequence, r.expires.UTC().Format(time.DateTime), newest.sequence, newest.expires.UTC().Format(time.DateTime)))
	}
	k.remember(n, r)
	if err := k.disk.save(n, r, data); err != nil {
		k.failed(n, fmt.Errorf("keeping its record: %w", err))
	}
	return &r, nil
}

// recall returns the newest record that was ever seen, nil if there is none. Who
// shares the disk may have seen a newer one than we did.
func (k *keys) recall(n Name) *record {
	if r, err := k.disk.load(n); err == nil {
		k.remember(n, r)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.seen.Get(n); ok {
		return &r
	}
	return nil
}

// remember keeps a record in memory, unless a newer one is there: a look-up that
// was given up may still end after the next.
func (k *keys) remember(n Name, r record) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if last, ok := k.seen.Peek(n); !ok || r.newer(last) {
		k.seen.Add(n, r)
	}
}
