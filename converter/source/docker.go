package converter

import (
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
)

// FromDocker returns the source of an image in a running Docker: the daemon that
// DOCKER_HOST names, as it does for docker itself.
func FromDocker(name string) Source { return fromDocker{name, remote.Patience} }

type fromDocker struct {
	name     string
	patience time.Duration
}

func (s fromDocker) read(a *archive) error {
	if r, err := parseRef(s.name); err == nil {
		if err := a.want.check([]ref{r}); err != nil {
			return err
		}
	}
	d, err := remote.FindDocker()
	if err != nil {
		return err
	}
	archive, err := d.Save(a.ws.Context, s.name, s.patience)
	if err != nil {
		return err
	}
	defer archive.Close()
	a.where = "what Docker saved"
	return a.readTar(archive)
}
