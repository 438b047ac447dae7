package images

import (
	"context"

	"github.com/ipfs/go-cid"
)

// Admit returns the error of class Denied if the lists refuse one of the paths below
// the root of the query's image, before anything is looked for.
func (l *Library) Admit(q Query, paths ...string) error {
	for _, p := range paths {
		if err := q.checkLists(l.config.Lists, p); err != nil {
			return newError(Denied, err)
		}
	}
	return nil
}

// AdmitContent returns the error of class Denied if the deny lists name a file.
func (l *Library) AdmitContent(file cid.Cid) error {
	if err := l.config.Lists.CheckDenied(file, ""); err != nil {
		return newError(Denied, err)
	}
	return nil
}

// AdmitName returns the error of class Denied if the lists refuse one of the paths
// below an IPNS key or a domain, whatever that resolves to.
func (l *Library) AdmitName(name string, paths ...string) error {
	for _, p := range paths {
		if err := l.config.Lists.CheckName(name, p); err != nil {
			return newError(Denied, err)
		}
	}
	return nil
}

// admits reports whether the lists let the image of a query be named. An image that no
// source can tell anything about is not named.
func (l *Library) admits(ctx context.Context, q Query) bool {
	if l.config.Lists == nil {
		return true
	}
	_, _, err := find(ctx, l, q, func(v view) (bool, error) { return true, v.checkImage(ctx) })
	return err == nil
}
