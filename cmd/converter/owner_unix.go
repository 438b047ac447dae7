//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// becomeOwner gives up the privileges of root for those of the user who owns a store, if
// the store has a root of its own or will get one. Only that user writes to such a store,
// and root could be tricked by what the user has put there. The process cannot become root
// again, so files that only root can read must be open before.
func becomeOwner(s *store.Store, ownRoot bool) error {
	if os.Geteuid() != 0 || !ownRoot && !s.Root().Exists() {
		return nil
	}
	info, err := os.Stat(s.Dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	gid := int(owner.Gid)
	err = errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(int(owner.Uid)))
	if err != nil {
		return fmt.Errorf("becoming user %d, who owns %s: %w", owner.Uid, s.Dir(), err)
	}
	return nil
}
