package fill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// complete fetches all of the blob, and keeps it if it has the digest in the request.
func (fl *fill) complete() error {
	done, err := fl.takeTurn()
	if err != nil {
		return err
	}
	defer done()
	d, err := fl.prove()
	if err != nil {
		return err
	}
	if d != fl.blob.Digest {
		fl.lies.Add(fl.file.KeyString(), lie{d, time.Now().Add(lieTime)})
		return falseDigest{d}
	}
	if err := fl.writeTail(); err != nil {
		return err
	}
	fl.mu.Lock()
	fl.completeAs(d)
	fl.mu.Unlock()
	fl.keep()
	return nil
}

// takeTurn begins to fetch all of the blob, if its readers want so much of it. A prefetch
// first waits for a slot or for a reader, and occupies the slot until done is called or a
// reader comes.
func (fl *fill) takeTurn() (done func(), err error) {
	done = func() {}
	if fl.slots != nil {
		select {
		case <-fl.asked:
		case fl.slots <- struct{}{}:
			done = sync.OnceFunc(func() { <-fl.slots })
			go func() {
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
	if fl.readers == 0 && fl.end == nil {
		fl.endLater()
	}
	fl.mu.Unlock()
	fl.fetchAllIfWanted()
	return done, nil
}

// proofBuffer is how many bytes prove reads at once.
const proofBuffer = 128 << 10

// prove returns the digest of the blob, which it reads while the leaves arrive.
func (fl *fill) prove() (digest.Digest, error) {
	hash := digest.SHA256.Hash()
	buf := make([]byte, proofBuffer)
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

// keep puts the blob in its place. Its errors do not matter to readers, which have the
// blob already; the cache reports them.
func (fl *fill) keep() {
	fl.cancel() // ends streams that bring present leaves again, which may hang
	fl.streams.Wait()
	if fl.partial.Sync() != nil {
		return
	}
	if fl.kept = fl.partial.Commit(fl.blob.Digest, fl.file, fl.table, fl.isUsed()) == nil; fl.kept {
		fl.index.Add(fl.file, fl.blob.Digest, fl.table)
	}
}
