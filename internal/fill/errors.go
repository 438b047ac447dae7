package fill

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// ErrDigest says that a blob does not have the digest that it is published under.
var ErrDigest = errors.New("the blob does not have the digest that it is published under")

// A falseDigest is ErrDigest, with the digest that the blob has.
type falseDigest struct{ has digest.Digest }

func (e falseDigest) Error() string { return fmt.Sprintf("%v: it has %s", ErrDigest, e.has) }
func (e falseDigest) Unwrap() error { return ErrDigest }

// passedBy is an error for which readers go on without the cache.
type passedBy struct{ error }

func (e passedBy) Unwrap() error { return e.error }
