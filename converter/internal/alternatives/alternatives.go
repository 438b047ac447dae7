// Package alternatives lists the names that exist, for errors about one that does not:
// the right name is often a spelling away.
package alternatives

import (
	"fmt"
	"slices"
	"strings"
)

// List returns names, sorted and joined by commas. Of many names it returns the first ten
// and says how many more there are.
func List(names []string) string {
	const most = 10
	slices.Sort(names)
	names = slices.Compact(names)
	if n := len(names) - most; n > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}
