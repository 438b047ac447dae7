package source

import (
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
)

// FromDocker returns the source of an image in a running Docker: the daemon that
// docker itself would use.
func FromDocker(image string) Source { return dockerSource{image, remote.Patience} }

type dockerSource struct {
	image    string
	patience time.Duration
}

// Image implements Source.
func (s dockerSource) Image() string { return s.image }

// Open implements Source.
func (s dockerSource) Open(ws *blob.Workspace) (*Layout, error) {
	d, err := remote.FindDocker()
	if err != nil {
		return nil, err
	}
	saved, err := d.Save(ws.Context, s.image, s.patience)
	if err != nil {
		return nil, err
	}
	defer saved.Close()
	return readArchive(ws, saved, "what Docker saved")
}
