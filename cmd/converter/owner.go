package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
)

// startedAs is the user who started this process. The process may have become the owner of
// a store since then.
var startedAs = os.Geteuid()

// ownerHint returns a hint for a source that root can read, but the owner of the store
// cannot. It is empty for all other errors.
func ownerHint(err error) string {
	if os.Geteuid() == startedAs || !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	return fmt.Sprintf("the converter has become user %d, who owns the store: give that user permission to read this, or pass an archive, which the converter opens while it is still root, as in `docker save IMAGE | converter --onto root`", os.Geteuid())
}

// userName returns the name of the user who runs this process, for the log of a root.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
