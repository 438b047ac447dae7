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

// becomeOwner makes a process of root one of the user who owns a store, if the store has a
// root of its own, or is to get one. That user alone writes to it, and could lead root
// elsewhere. There is no way back, so what only root may read must be open already.
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
