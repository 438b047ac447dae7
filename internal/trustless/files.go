package trustless

import (
	"context"
	"errors"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A file is what the nodes above its leaves say of a file.
type file struct {
	cid   cid.Cid
	size  int64
	table *unixfs.Table // nil where the file's shape has none
}

func (f *file) bytes() int {
	if f.table == nil {
		return 0
	}
	return cap(f.table.Leaves) * leafSize
}

// leafSize is what a leaf takes in a table.
const leafSize = 40

// files remember what was found at which paths. What many want at the same time
// is looked up once.
type files struct {
	known *cache[*file] // by path

	mu    sync.Mutex
	under map[string]*lookup // way
}

func newFiles() *files {
	return &files{known: newCache((*file).bytes), under: map[string]*lookup{}}
}

// A lookup is one that is under way, or was.
type lookup struct {
	waiting int // those who want its result; when nobody does any more, it ends
	cancel  context.CancelFunc
	done    chan struct{}
	file    *file
	err     error
}

// get returns what is at a path, for which it calls find if need be. That goes
// on when whoever asked first leaves, as long as anybody waits.
func (f *files) get(ctx context.Context, path string, find func(context.Context) (*file, error)) (*file, error) {
	if known, ok := f.known.get(path); ok {
		return known, nil
	}
	l := f.join(ctx, path, find)
	defer f.leave(path, l)
	select {
	case <-l.done:
		return l.file, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// has reports whether it is known what is at a path.
func (f *files) has(root cid.Cid, at string) bool {
	_, known := f.known.get(fileKey(root, at))
	return known
}

// join begins a look-up, or has one more wait for the one that is under way.
func (f *files) join(ctx context.Context, path string, find func(context.Context) (*file, error)) *lookup {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.under[path]
	if l == nil {
		l = &lookup{done: make(chan struct{})}
		ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
		f.under[path] = l
		go f.run(ctx, path, l, find)
	}
	l.waiting++
	return l
}

func (f *files) run(ctx context.Context, path string, l *lookup, find func(context.Context) (*file, error)) {
	defer close(l.done)
	l.file, l.err = find(ctx)
	if l.err == nil {
		f.known.add(path, l.file)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(path, l)
}

func (f *files) leave(path string, l *lookup) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		f.forget(path, l)
		l.cancel()
	}
}

// forget has the next one who asks begin anew.
func (f *files) forget(path string, l *lookup) {
	if f.under[path] == l {
		delete(f.under, path)
	}
}

// file returns what is known of the file at the slash-separated path below root
// before any of its bytes are there.
func (s Session) file(ctx context.Context, root cid.Cid, at string) (*file, error) {
	return s.files.get(ctx, fileKey(root, at), func(ctx context.Context) (*file, error) {
		return s.find(ctx, root, at)
	})
}

func fileKey(root cid.Cid, at string) string { return root.KeyString() + "/" + at }

func (s Session) find(ctx context.Context, root cid.Cid, at string) (_ *file, err error) {
	defer recovered(&err)
	first, err := s.first(ctx, root, at)
	if err != nil {
		return nil, err
	}
	size, err := unixfs.FileSize(first)
	if err != nil {
		return nil, err
	}
	f := &file{cid: first.CID, size: size}
	switch table, err := s.table(ctx, first); {
	case err == nil:
		f.table = table
	case !errors.Is(err, unixfs.ErrShape):
		return nil, err
	}
	return f, nil
}

// maxLeaves bounds the memory for a table, which anybody may cause: 10 MiB. What
// has more is streamed without one.
const maxLeaves = 1 << 18

// table returns the leaves of a file, given its first block. If that is all, and
// says more than the bytes of the file, such as their time, no table stands for
// it.
func (s Session) table(ctx context.Context, first unixfs.Block) (*unixfs.Table, error) {
	if err := s.fetchNodes(ctx, first.CID); err != nil {
		return nil, err
	}
	f, err := unixfs.ReadFileUpTo(ctx, s.raw, first.CID, maxLeaves)
	if err != nil {
		return nil, err
	}
	if len(f.Nodes) == 0 {
		if data, err := unixfs.SmallFile(first); err != nil || !f.Table.Verify(0, data) {
			return nil, unixfs.ErrShape
		}
	}
	return f.Table, nil
}
