package trustless

import (
	"errors"
	"io"
)

// ErrEnough is what a Sink's Write returns once the sink has all that it wants.
// The copy ends, and Copy returns nil: no gateway failed.
var ErrEnough = errors.New("the sink has all that it wants")

// A Sink takes what is copied.
type Sink interface {
	io.Writer

	// Start is called once, before anything is written, and says that the bytes
	// [from, to) of the file will be.
	Start(f File, from, to int64)
}
