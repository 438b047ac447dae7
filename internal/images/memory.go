package images

import (
	"bytes"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
)

// A memory is what a library remembers: facts about content, which never change, and for a
// moment what gateways declined.
type memory struct {
	// Manifests that gateways proved, by request. Finding and
	// parsing a manifest again took a third of the time of an answer.
	manifests *memo.Cache[manifestKey, layout.Manifest]

	forms *memo.Cache[layout.Image, knownForm]

	prefetches *memo.Cache[prefetchKey, *prefetch]

	declined declinedMemory

	// False content that the log was told about, so that clients cannot fill the log
	// by asking again.
	falsities *memo.Cache[Query, struct{}]
}

type manifestKey struct {
	image     layout.Image
	reference string
}

// A knownForm is the form of an image and what it was read from, so that the lists can
// be asked again about that.
type knownForm struct {
	layout.Form
	madeOf []layout.Place
}

const (
	maxManifests = 16 << 20 // bytes
	maxForms     = 8 << 20  // bytes
	maxFalsities = 1 << 20  // bytes

	// formSize is about how many bytes a large form takes: some hold where each blob
	// of the image is.
	formSize = 64 << 10
)

func newMemory() memory {
	return memory{
		declined: newDeclinedMemory(),
		manifests: memo.NewCache(maxManifests, func(k manifestKey, m layout.Manifest) int {
			return len(k.image.Name) + len(k.reference) + len(m.Data)
		}),
		prefetches: memo.NewCache(prefetchesSize, func(k prefetchKey, _ *prefetch) int { return len(k.image.Name) + len(k.blob) + prefetchSize }),
		forms:      memo.NewCache(maxForms, func(layout.Image, knownForm) int { return formSize }),
		falsities:  memo.NewCache(maxFalsities, func(q Query, _ struct{}) int { return len(q.Image.Name) + len(q.Reference) + len(q.Digest) }),
	}
}

// forget removes what is below a root, and returns how many manifests that were.
func (m memory) forget(root cid.Cid) int {
	m.forms.Clear()
	m.declined.known.Purge()
	return m.manifests.RemoveFunc(func(k manifestKey) bool { return bytes.Equal(k.image.Root.Hash(), root.Hash()) })
}

// isNewFalsity reports whether the log was not told yet of false content, and takes it
// for told.
func (m memory) isNewFalsity(q Query) bool {
	_, told := m.falsities.Get(q)
	m.falsities.Add(q, struct{}{})
	return !told
}
