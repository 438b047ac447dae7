package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// startedAs is the user who started this process. It may have become the owner of a store
// since.
var startedAs = os.Geteuid()

// ownerHint says why a source that root may read is closed to the owner of a store, and what
// to do.
func ownerHint(err error) string {
	if os.Geteuid() == startedAs || !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	return fmt.Sprintf("the converter has become user %d, who owns the store: let that user read this, or give an archive, which is opened before, as in `docker save IMAGE | converter --onto root`", os.Geteuid())
}

// userName returns the name of the user who runs this process, for the log of a root.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
