package convert

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// decoders decompress a gzip file of several members from standard input.
var decoders = []struct {
	name    string
	command []string
}{
	{"gzip", []string{"gzip", "--decompress", "--stdout"}},
	{"gzip --test", []string{"sh", "-ec", `cat >layer.gz; gzip --test layer.gz; gzip -dc layer.gz`}},
	{"pigz", []string{"pigz", "--decompress", "--stdout"}},
	{"busybox gunzip", []string{"busybox", "gunzip", "-c"}},
	{"igzip", []string{"igzip", "--decompress", "--stdout"}},
	{"zlib, by Python", []string{"python3", "-c", `
import sys, zlib
data = sys.stdin.buffer.read()
while data:
    member = zlib.decompressobj(wbits=31)
    sys.stdout.buffer.write(member.decompress(data) + member.flush())
    assert member.eof
    data = member.unused_data
`}},
}

// Every decoder reads the output of format 1's encoder at every level. Decoders differ
// in how strict they are about Huffman codes.
func TestDecodersReadEveryLevel(t *testing.T) {
	harness.Parallel(t)
	layer := mixedLayer(t, 200, 1_500_000)
	archive := savedImages(t, savedImage{tags: []string{"team/app:v1"}, layers: []string{layer}})
	for level := 1; level <= 9; level++ {
		convert := harness.Converter(t, archive, fmt.Sprintf("--level=%d", level), "--no-add", "--quiet")
		convert.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		dir := harness.RunForLine(t, convert)
		blobs, err := filepath.Glob(filepath.Join(dir, "team/app/blobs/*"))
		if err != nil || len(blobs) != 2 {
			t.Fatalf("the blobs are %v, %v", blobs, err)
		}
		for _, compressed := range blobs {
			if harness.ReadFile(t, compressed)[0] == '{' {
				continue // the config
			}
			for _, decoder := range decoders {
				t.Run(fmt.Sprintf("%s/level %d", decoder.name, level), func(t *testing.T) {
					harness.Need(t, decoder.command[0])
					cmd := exec.Command(decoder.command[0], decoder.command[1:]...)
					cmd.Dir = t.TempDir()
					if got := harness.Run(t, harness.WithInput(t, cmd, compressed)); got != layer {
						t.Errorf("the layer is %s, want %s", harness.DigestOf([]byte(got)), harness.DigestOf([]byte(layer)))
					}
				})
			}
		}
	}
}
