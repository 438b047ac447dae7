package destination

import (
	"fmt"
	"os"
	"runtime"
)

// TempDir returns the directory for temporary files that have no place of their own:
// $TMPDIR, or else /var/tmp, since layers are large and /tmp may be kept in memory.
func TempDir() string {
	const large = "/var/tmp"
	if os.Getenv("TMPDIR") == "" && runtime.GOOS != "windows" {
		if info, err := os.Stat(large); err == nil && info.IsDir() {
			return large
		}
	}
	return os.TempDir()
}

func makeTempDir() (string, error) {
	dir, err := os.MkdirTemp(TempDir(), "converter-")
	if err != nil {
		return "", fmt.Errorf("creating a temporary directory: %w", err)
	}
	return dir, nil
}
