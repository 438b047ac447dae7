package main

import (
	"os"
	"os/user"
	"strconv"
)

// userName returns the name of the user who runs this process, for the log of a root.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}
