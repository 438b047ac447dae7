package convert

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// If any one bit of an archive is flipped, the converter either refuses the archive, or
// the bit has no meaning and the address stays the same. Other images in the store do
// not change.
func TestFlippedBitIsRefusedOrHarmless(t *testing.T) {
	harness.Parallel(t)
	for form, archive := range smallArchives(t) {
		t.Run(form, func(t *testing.T) {
			harness.Parallel(t)
			whole := []byte(harness.ReadFile(t, archive))
			store := t.TempDir()
			args := []string{"--store=" + store, "--name=" + harness.ImageName, "--tag=v1"} // the flipped bit may be in the name
			ref := harness.Convert(t, archive, append(args, "--store="+t.TempDir())...)
			other := harness.Convert(t, harness.ArchiveOfLayers(t, "other:v1", "content"), "--store="+store)
			before := contents(t, store)
			random := rand.New(rand.NewPCG(1, 2))
			places := placesIn(whole, random)
			refused, harmless := 0, 0
			for _, at := range places {
				flipped := bytes.Clone(whole)
				bit := byte(1) << random.IntN(8)
				flipped[at] ^= bit
				cmd := harness.Converter(t, os.DevNull, args...)
				cmd.Stdin = bytes.NewReader(flipped)
				stdout, stderr, err := harness.Try(cmd)
				switch {
				case err == nil && stdout == ref+"\n":
					harmless++
					harness.MustVerify(t, ref, ref, "--store="+store)
				case cmd.ProcessState.ExitCode() == 1 && stdout == "" && strings.Count(stderr, "\n") == 1:
					refused++
				default:
					t.Errorf("byte %d of %d, bit %#x: %v, standard output is %q and standard error\n%s", at, len(whole), bit, err, stdout, stderr)
				}
				if stdout != "" {
					harness.InStore(t, store, "rm", strings.TrimSpace(stdout))
					harness.InStore(t, store, "gc")
				}
				if left := contents(t, store); !slices.Equal(left, before) {
					t.Fatalf("byte %d, bit %#x: the store has %q, and had %q", at, bit, left, before)
				}
			}
			harness.MustVerify(t, other, "--all", "--store="+store)
			t.Logf("%d bits: %d refused, %d harmless", len(places), refused, harmless)
			if refused == 0 || harmless == 0 {
				t.Error("the test must flip bits of both kinds")
			}
		})
	}
}

// contents returns the paths of all files of a store and of everything in its tmp. It
// leaves out other directories, which gc does not remove.
func contents(t *testing.T, store string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, store), func(name string) bool {
		return strings.HasSuffix(name, "/") && !strings.HasPrefix(name, "tmp/")
	})
}

// smallArchives returns a small image in each format in which programs save images.
func smallArchives(t *testing.T) map[string]string {
	t.Helper()
	harness.Need(t, "root", "skopeo", "unshare")
	context := t.TempDir()
	harness.WriteFile(t, filepath.Join(context, "Dockerfile"), "FROM scratch\nCOPY noise /noise\nCOPY text /text\n")
	harness.WriteFile(t, filepath.Join(context, "noise"), harness.Noise(20_000))
	harness.WriteFile(t, filepath.Join(context, "text"), strings.Repeat(harness.Greeting+"\n", 1000))
	d := harness.NewDocker(t)
	d.Run(t, "build", "--network=none", "--tag="+harness.ImageName+":v1", context)
	saved := d.Save(t, harness.ImageName+":v1")
	oci := filepath.Join(t.TempDir(), "oci.tar")
	harness.Run(t, exec.Command("skopeo", "copy", "--insecure-policy", "docker-archive:"+saved, "oci-archive:"+oci+":v1"))
	return map[string]string{
		"docker save":           saved,
		"docker save, gzipped":  harness.WriteArchive(t, string(harness.Gzipped(t, []byte(harness.ReadFile(t, saved))))),
		"skopeo to OCI archive": oci,
	}
}

// placesIn chooses offsets in an archive: some in every header, content and padding, and
// some at the end. In a compressed archive it chooses them anywhere.
func placesIn(archive []byte, random *rand.Rand) (places []int) {
	choose := func(n, from, to int) {
		for range min(n, to-from) {
			places = append(places, from+random.IntN(to-from))
		}
	}
	rest := bytes.NewReader(archive)
	r := tar.NewReader(rest)
	end := 0
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		content := len(archive) - rest.Len()
		contentEnd := content + int(h.Size)
		choose(4, end, content)
		choose(10, content, contentEnd)
		end = (contentEnd + 511) &^ 511
		choose(2, contentEnd, end)
	}
	if end == 0 {
		choose(20, 0, 20)
		choose(100, 0, len(archive))
		choose(8, len(archive)-8, len(archive))
		return places
	}
	choose(10, end, len(archive))
	return places
}

// An archive that claims to be huge, or that decompresses to a huge size, is refused. It
// costs little memory, and no more disk than the bytes that arrived.
func TestBombStaysWithinMemoryAndDisk(t *testing.T) {
	harness.Parallel(t)
	for name, bomb := range map[string]struct {
		write func(w io.Writer) error
		disk  string // the size of the disk
		says  string
	}{
		"a gzip bomb": {func(w io.Writer) error {
			z := gzip.NewWriter(w)
			defer z.Close()
			return tarOf(z, declared("layer.tar", 512<<20, zeros(512<<20)))
		}, "8m", "neither manifest.json nor index.json"},
		"a layer of petabytes": {func(w io.Writer) error {
			return tarOf(w, declared("layer.tar", 5<<50, strings.NewReader(harness.Noise(3<<20))))
		}, "8m", `ends early, in "layer.tar"`},
		"a layer of petabytes of nothing": {func(w io.Writer) error {
			z := gzip.NewWriter(w)
			defer z.Close()
			return tarOf(z, declared("layer.tar", 5<<50, zeros(64<<20)))
		}, "8m", `ends early, in "layer.tar"`},
		"a config of petabytes": {func(w io.Writer) error {
			return tarOf(w, declared("config.json", 5<<50, strings.NewReader("{}")))
		}, "8m", `ends early, in "config.json"`},
		"a long manifest.json": {func(w io.Writer) error {
			return tarOf(w, declared("manifest.json", 100_000_000, jsonOf(100_000_000)))
		}, "8m", `manifest.json has 100000000 bytes, and the most is`},
		"a long index.json": {func(w io.Writer) error {
			return tarOf(w, declared("index.json", 100_000_000, jsonOf(100_000_000)))
		}, "8m", `index.json has 100000000 bytes, and the most is`},
		"a long config": {func(w io.Writer) error {
			manifest := `[{"Config":"config.json"}]`
			return tarOf(w, declared("config.json", 100_000_000, jsonOf(100_000_000)), declared("manifest.json", int64(len(manifest)), strings.NewReader(manifest)))
		}, "120m", `config.json.*100000000 bytes`},
		"a deep manifest.json": {func(w io.Writer) error {
			return tarOf(w, declared("manifest.json", 4<<20, strings.NewReader(strings.Repeat("[", 4<<20))))
		}, "8m", "reading manifest.json"},
	} {
		t.Run(name, func(t *testing.T) {
			mustStayModest(t, bomb.disk, bomb.write, bomb.says)
		})
	}
}

// mustStayModest runs the converter on a disk of a given size, with what write writes as
// its input. The converter must refuse the input, and use at most 200 MiB of memory.
func mustStayModest(t *testing.T, disk string, write func(io.Writer) error, says string) {
	t.Helper()
	harness.Need(t, "root", "unshare", "bin/converter")
	const script = `mount -t tmpfs -o size="$2" tmpfs "$1"; exec "$3" --store "$1/store"`
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", t.TempDir(), disk, harness.InRepo("bin/converter"))
	r, w := io.Pipe()
	defer r.Close() // ends write
	go func() { w.CloseWithError(write(w)) }()
	input := &gauge{cmd: cmd, r: r}
	cmd.Stdin = input
	harness.MustRefuse(t, cmd, says)
	if input.peak == 0 || input.peak > 200<<20 {
		t.Errorf("the converter used %d bytes of memory", input.peak)
	}
	t.Logf("the converter used %d MiB of memory", input.peak>>20)
}

// A gauge is a program's input. Before every read, it notes the most memory that the
// program has used.
type gauge struct {
	cmd  *exec.Cmd
	r    io.Reader
	peak int64
}

func (g *gauge) Read(p []byte) (int, error) {
	g.peak = max(g.peak, peakMemory(g.cmd.Process.Pid))
	return g.r.Read(p[:min(len(p), 8<<10)])
}

var highWater = regexp.MustCompile(`VmHWM:\s*(\d+) kB`)

// peakMemory returns the most memory that a process has used at once. The figure from
// wait(2) would not do: it includes the memory of the process that started it.
func peakMemory(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // the process has ended
	}
	m := highWater.FindSubmatch(status)
	if m == nil {
		return 0
	}
	kB, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return 0
	}
	return kB << 10
}

// A declaration is an entry of an archive whose content may be shorter than its header
// says.
type declaration struct {
	tar.Header
	content io.Reader
}

func declared(name string, size int64, content io.Reader) declaration {
	return declaration{tar.Header{Name: name, Mode: 0o644, Size: size, Format: tar.FormatGNU}, content}
}

// tarOf writes an archive. It stops after a content that is shorter than declared.
func tarOf(w io.Writer, entries ...declaration) error {
	archive := tar.NewWriter(w)
	for _, e := range entries {
		if err := archive.WriteHeader(&e.Header); err != nil {
			return err
		}
		if n, err := io.Copy(archive, e.content); err != nil || n < e.Size {
			return err
		}
	}
	return archive.Close()
}

func zeros(n int64) io.Reader { return io.LimitReader(endless(0), n) }

// jsonOf returns a JSON document of n bytes, most of them in one string.
func jsonOf(n int64) io.Reader {
	const begin, end = `[{"Config":"`, `"}]`
	return io.MultiReader(strings.NewReader(begin), io.LimitReader(endless('x'), n-int64(len(begin+end))), strings.NewReader(end))
}

// endless is a reader that repeats a byte without end.
type endless byte

func (b endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// A layer that is not a valid tar file is kept to the byte. A layer whose digest is not
// the config's is refused.
func TestLayerIsKeptWhateverItsTarDeclares(t *testing.T) {
	harness.Parallel(t)
	var layer bytes.Buffer
	for _, size := range []int64{5 << 50, 1 << 62} { // the second header is within the first one's content
		header := tar.Header{Name: "srv/large", Mode: 0o644, Size: size, Format: tar.FormatGNU}
		if err := tar.NewWriter(&layer).WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
	}
	layer.WriteString(harness.Noise(3 << 20))
	store := t.TempDir()
	ref := harness.Convert(t, archiveOfTars(t, harness.DigestOf(layer.Bytes()), layer.Bytes()), "--store="+store)
	harness.MustVerify(t, ref, ref, "--store="+store)
	harness.MustRefuse(t, harness.Converter(t, archiveOfTars(t, harness.DigestOf(nil), layer.Bytes()), "--store="+store), "layer 0.tar is .* and the config says")
}

// archiveOfTars writes an archive as docker save does, of an image with one layer, whose
// digest the config says is diffID. The archive has several entries with the layer's
// name.
func archiveOfTars(t *testing.T, diffID string, layers ...[]byte) (file string) {
	t.Helper()
	config := fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":[%q]}}`, diffID)
	a := harness.Archive{
		{Header: tar.Header{Name: "config.json", Mode: 0o644}, Content: []byte(config)},
		{Header: tar.Header{Name: "manifest.json", Mode: 0o644}, Content: []byte(`[{"Config":"config.json","RepoTags":["` + harness.ImageName + `:v1"],"Layers":["0.tar"]}]`)},
	}
	for _, layer := range layers {
		a = append(a, harness.Entry{Header: tar.Header{Name: "0.tar", Mode: 0o644}, Content: layer})
	}
	return a.Write(t)
}

// If an archive has ten thousand entries with one name, the last one counts, as when it
// is unpacked. The others leave nothing behind.
func TestLastEntryOfANameCounts(t *testing.T) {
	harness.Parallel(t)
	var layers [][]byte
	for i := range 10_000 {
		layers = append(layers, []byte(fmt.Sprint(i)+strings.Repeat(" ", 2000)))
	}
	last := layers[len(layers)-1]
	store, alone := t.TempDir(), t.TempDir()
	got := harness.Convert(t, archiveOfTars(t, harness.DigestOf(last), layers...), "--store="+store)
	if want := harness.Convert(t, archiveOfTars(t, harness.DigestOf(last), last), "--store="+alone); got != want {
		t.Errorf("after other entries the layer gives %s, and alone %s", got, want)
	}
	if got, want := contents(t, store), contents(t, alone); !slices.Equal(got, want) {
		t.Errorf("the store has %q, and with the last entry alone %q", got, want)
	}
	harness.MustVerify(t, got, got, "--store="+store)
	harness.MustRefuse(t, harness.Converter(t, archiveOfTars(t, harness.DigestOf(layers[0]), layers[0], last), "--store="+t.TempDir()), "layer 0.tar is .* and the config says")
}

// The error names a file that manifest.json lists and the archive lacks.
func TestEntryMissingFromArchiveIsNamed(t *testing.T) {
	harness.Parallel(t)
	whole := harness.ArchiveOfLayers(t, "app:v1", "content", "of another")
	for _, missing := range []string{"config.json", "0/layer.tar", "1/layer.tar"} {
		without := harness.ReadArchive(t, whole).Without(missing).Write(t)
		harness.MustRefuse(t, harness.Converter(t, without, "--store="+t.TempDir()), `"`+regexp.QuoteMeta(missing)+`" is not in the archive`)
	}
}

// Several converters that add the same image to a store at the same time all succeed,
// and the store has it once.
func TestConcurrentConversionsOfOneImageAllSucceed(t *testing.T) {
	harness.Parallel(t)
	image := []byte(harness.ReadFile(t, harness.ArchiveOfLayers(t, harness.ImageName+":v1", harness.Noise(3<<20), "of another")))
	alone := t.TempDir()
	want := harness.Convert(t, harness.WriteArchive(t, string(image)), "--store="+alone)
	for _, converters := range []int{2, 4} {
		for range 5 {
			store := t.TempDir()
			var wg, ready sync.WaitGroup
			ready.Add(converters)
			for range converters {
				cmd := harness.Converter(t, os.DevNull, "--store="+store)
				cmd.Stdin = io.MultiReader(bytes.NewReader(image[:len(image)-1]), &meeting{ready: &ready}, bytes.NewReader(image[len(image)-1:]))
				wg.Go(func() {
					if stdout, stderr, err := harness.Try(cmd); err != nil || stdout != want+"\n" {
						t.Errorf("%d converters: %v, one prints %q, and its standard error is %q", converters, err, stdout, stderr)
					}
				})
			}
			wg.Wait()
			harness.MustVerify(t, want, "--all", "--store="+store)
			if got, want := contents(t, store), contents(t, alone); !slices.Equal(got, want) {
				t.Errorf("%d converters: the store has %q, and with one converter %q", converters, got, want)
			}
		}
	}
}

// A meeting is an empty reader. A read returns when all converters have come to theirs.
type meeting struct {
	ready *sync.WaitGroup
	once  sync.Once
}

func (m *meeting) Read([]byte) (int, error) {
	m.once.Do(func() {
		m.ready.Done()
		m.ready.Wait()
	})
	return 0, io.EOF
}

// If a node is killed during an import, the error names the node and no reference is
// printed.
func TestNodeKilledDuringImportIsNamed(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	blocks := func() int {
		files, err := filepath.Glob(filepath.Join(kubo.Repo, "blocks", "*", "*.data"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	before := blocks()
	image := []byte(harness.ReadFile(t, harness.ArchiveOfLayers(t, harness.ImageName+":v1", harness.Noise(64<<20))))
	tmp := t.TempDir()
	cmd := harness.Converter(t, os.DevNull, "--ipfs-api="+kubo.API)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	r, w := io.Pipe()
	cmd.Stdin = r
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		defer r.Close() // so that writes do not block
		harness.MustRefuse(t, cmd, "IPFS node at "+regexp.QuoteMeta(kubo.API)+": ")
	}()
	w.Write(image[:48<<20])
	kubo.Await(t, "imported blocks", func() bool { return blocks() > before })
	kubo.Cmd.Process.Kill()
	<-kubo.Ended
	w.Write(image[48<<20:])
	w.Close()
	<-refused
	if left := names(t, tmp); len(left) > 1 {
		t.Errorf("the converter left %q", left)
	}
}

// A node that requires a token accepts images from a converter that has it. With a wrong
// token or none, the error names the option, however large the image is.
func TestWrongNodeTokenIsNamed(t *testing.T) {
	harness.Parallel(t)
	repo := harness.NewRepo(t)
	harness.IPFS(t, repo, "config", "--json", "API.Authorizations", `{"converter":{"AuthSecret":"bearer:right","AllowedPaths":["/api/v0"]}}`)
	kubo := harness.StartKubo(t, repo)
	for _, content := range []string{"content", harness.Noise(32 << 20)} {
		image := harness.ArchiveOfLayers(t, harness.ImageName+":v1", content)
		for _, token := range [][]string{{}, {"--ipfs-api-token=wrong"}} {
			harness.MustRefuse(t, harness.Converter(t, image, append(token, "--ipfs-api="+kubo.API)...), "IPFS node at "+regexp.QuoteMeta(kubo.API)+": .*403.*--ipfs-api-token")
		}
		node := []string{"--ipfs-api=" + kubo.API, "--ipfs-api-token=right"}
		ref := harness.Convert(t, image, node...)
		harness.MustVerify(t, ref, append([]string{ref}, node...)...)
	}
}
