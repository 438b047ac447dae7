package store

import (
	"io/fs"
	"os"
	"time"
)

// often is how exactly it is known when a file was used last.
const often = time.Minute

// touch notes that a file of the cache is used. Who may not is no worse off: it
// is somebody else's cache then.
func touch(path string) {
	if info, err := os.Lstat(path); err == nil {
		touchIfOld(path, info)
	}
}

func touchFile(f *os.File) {
	if info, err := f.Stat(); err == nil {
		touchIfOld(f.Name(), info)
	}
}

func touchIfOld(path string, info fs.FileInfo) {
	now := time.Now()
	if age := now.Sub(info.ModTime()); age > often || age < 0 { // or clocks were wrong
		_ = os.Chtimes(path, now, now)
	}
}
