package fill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// complete waits for the last byte, and keeps the blob if it is what it was asked
// for by.
func (fl *fill) complete() error {
	done, err := fl.turn()
	if err != nil {
		return err
	}
	defer done()
	d, err := fl.prove()
	if err != nil {
		return err
	}
	if d != fl.blob.Digest {
		fl.filler.lies.Add(fl.file.KeyString(), lie{d, time.Now().Add(lieTime)})
		return falseDigest{d}
	}
	if err := fl.release(); err != nil {
		return err
	}
	fl.mu.Lock()
	fl.digest = d
	fl.broadcast()
	fl.mu.Unlock()
	fl.keep()
	return nil
}

// turn waits until somebody asks for what was prefetched, or there is room for
// one more of these, and then has everything fetched.
func (fl *fill) turn() (done func(), err error) {
	done = func() {}
	if fl.slots != nil {
		select {
		case <-fl.asked:
		case fl.slots <- struct{}{}:
			done = sync.OnceFunc(func() { <-fl.slots })
			go func() { // who is asked for is prefetched no more
				select {
				case <-fl.asked:
				case <-fl.ctx.Done():
				}
				done()
			}()
		case <-fl.ctx.Done():
			return done, context.Cause(fl.ctx)
		}
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.all = true
	if fl.readers == 0 && fl.end == nil {
		fl.endLater()
	}
	fl.dispatch()
	return done, nil
}

// prove returns the digest of the whole, which it reads as it comes.
func (fl *fill) prove() (digest.Digest, error) {
	hash := digest.SHA256.Hash()
	buf := make([]byte, 256<<10)
	size := fl.table.Size()
	for at := int64(0); at < size; {
		end, err := fl.await(fl.ctx, nil, at, size, false)
		if err != nil {
			return "", err
		}
		for at < end {
			n, err := fl.readAt(buf[:min(int64(len(buf)), end-at)], at)
			if n == 0 {
				return "", passedBy{errors.Join(errors.New("reading what was cached"), err)}
			}
			hash.Write(buf[:n])
			at += int64(n)
		}
	}
	return digest.NewDigest(digest.SHA256, hash), nil
}

// keep puts the blob in its place. Readers have it by then, or wait until that is
// done. What fails the cache knows, and nobody else has to.
func (fl *fill) keep() {
	fl.cancel() // streams that bring what is there already, and may hang
	fl.streams.Wait()
	if fl.partial.Sync() != nil {
		return
	}
	if fl.kept = fl.partial.Commit(fl.digest, fl.file, fl.table) == nil; fl.kept {
		fl.filler.leaves.Add(fl.digest, fl.table)
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.path = fl.partial.Path()
}
