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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// ErrExpired says that the newest record of a key is no longer valid. It wraps
// fs.ErrNotExist: the key stands for nothing now.
var ErrExpired = fmt.Errorf("its owner has to publish again: %w", fs.ErrNotExist)

// keys looks up the records of IPNS keys.
type keys struct {
	pool   *gateway.Pool // nil if there are no gateways
	disk   *disk
	failed func(Name, error)
	seen   *memory[record] // the newest record of each key

	isConfigured func(Name) bool
}

func newKeys(pool *gateway.Pool, dir string, failed func(Name, error), isConfigured func(Name) bool) *keys {
	return &keys{pool: pool, disk: &disk{dir: dir}, failed: failed, seen: newMemory[record](isConfigured, nil), isConfigured: isConfigured}
}

// opinions is the number of gateways that are asked for a record. A single gateway
// could withhold new records while an old one is valid.
const opinions = 2

var errEnough = errors.New("one gateway answered, and no other in time")

// lookup asks gateways for the newest record. If none answers, it returns the newest
// known record while that is valid.
func (k *keys) lookup(ctx context.Context, n Name) (link, error) {
	if k.pool == nil {
		return link{}, fmt.Errorf("%s: no gateway is configured that could have its IPNS record", n)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	q := &keyQuery{keys: k, name: n, newest: k.recall(n), stop: func() { stop(errEnough) }}
	err := k.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipns", n.String()),
		Format: gateway.IPNSRecord,
		Accept: q.accept,
		Failed: func(f gateway.Failure) { k.failed(n, f) },
	})
	newest := q.newest
	switch {
	case newest == nil:
		return link{}, fmt.Errorf("looking for a record of %s: %w", n, err)
	case newest.expired():
		return link{}, expiredError(n, newest)
	case newest.useless != "":
		return link{}, fmt.Errorf("the record of %s: %s: %w", n, newest.useless, errUseless)
	}
	least := minTTL
	if k.isConfigured(n) {
		least = minConfigured
	}
	found := newest.link(least)
	if q.answers == 0 {
		found = found.stale()
	}
	return found, nil
}

// A keyQuery asks gateways for the record of one key.
type keyQuery struct {
	*keys
	name Name
	stop func() // ends the query

	mu      sync.Mutex
	newest  *record // known so far
	answers int
}

// accept is a gateway.Exchange's. A gateway may be honest and not know the newest
// record yet.
func (q *keyQuery) accept(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, ipns.MaxRecord+1))
	if err != nil {
		return err
	}
	r, err := readRecord(data, q.name)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.newest != nil && q.newest.newer(r) {
		return gateway.Soft(fmt.Errorf("record %d until %s is older than the known record %d until %s",
			r.sequence, r.expires.UTC().Format(time.DateTime), q.newest.sequence, q.newest.expires.UTC().Format(time.DateTime)))
	}
	q.newest = &r
	q.remember(q.name, r)
	if err := q.disk.save(q.name, r, data, q.seen.isInUse(q.name)); err != nil {
		q.failed(q.name, fmt.Errorf("keeping its record: %w", err))
	}
	if r.expired() {
		return gateway.Soft(expiredError(q.name, &r))
	}
	if q.answers++; q.answers == opinions {
		return nil
	}
	time.AfterFunc(maxWait, q.stop)
	return gateway.ErrMore
}

func expiredError(n Name, r *record) error {
	return fmt.Errorf("the record of %s expired on %s: %w", n, r.expires.UTC().Format(time.DateTime), ErrExpired)
}

// recall returns the newest record that was ever seen, or nil. Another process that
// shares the disk may have seen a newer one than this process.
func (k *keys) recall(n Name) *record {
	if r, err := k.disk.load(n); err == nil {
		k.remember(n, r)
	}
	if r, ok := k.seen.get(n); ok {
		return &r
	}
	return nil
}

// remember keeps a record in memory, unless a newer one is known: a look-up that was
// abandoned may end after the next one.
func (k *keys) remember(n Name, r record) {
	k.seen.update(n, func(last record, ok bool) (record, bool) { return r, !ok || r.newer(last) })
}

// noteInUse keeps the record of a key that is in use.
func (k *keys) noteInUse(n Name) {
	if n.domain != "" {
		return
	}
	k.seen.use(n)
	if err := k.disk.keep(n); err != nil {
		k.failed(n, fmt.Errorf("keeping its record: %w", err))
	}
}
