// Package alternatives lists what there is, for a user who asked for something that
// there is not. The right name may be a spelling away.
package alternatives

import (
	"fmt"
	"slices"
	"strings"
)

// List joins the names, and leaves out most of them if there are many.
func List(names []string) string {
	const most = 10
	slices.Sort(names)
	names = slices.Compact(names)
	if n := len(names) - most; n > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}
