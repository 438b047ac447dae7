// Package alternatives tells people who asked for what is not there what there is
// instead: it may be a spelling away.
package alternatives

import (
	"fmt"
	"slices"
	"strings"
)

// List joins names, of which there may be many, and leaves out the most.
func List(names []string) string {
	const most = 10
	slices.Sort(names)
	names = slices.Compact(names)
	if n := len(names) - most; n > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}
