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

// Whatever bit of an archive is another, the archive is refused, or it is one
// that means nothing and the address is the right one. What else the store has
// stays as it is.
func TestFlippedBitIsRefusedOrHarmless(t *testing.T) {
	harness.Parallel(t)
	for form, archive := range smallArchives(t) {
		t.Run(form, func(t *testing.T) {
			harness.Parallel(t)
			whole := []byte(harness.ReadFile(t, archive))
			store := t.TempDir()
			args := []string{"--store=" + store, "--name=" + harness.ImageName, "--tag=v1"} // whatever name a bit makes
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
					t.Errorf("byte %d of %d is another by %#x: %v, it prints %q and says\n%s", at, len(whole), bit, err, stdout, stderr)
				}
				if stdout != "" {
					harness.InStore(t, store, "rm", strings.TrimSpace(stdout))
					harness.InStore(t, store, "gc")
				}
				if left := contents(t, store); !slices.Equal(left, before) {
					t.Fatalf("byte %d is another by %#x: in the store are %q, and were %q", at, bit, left, before)
				}
			}
			harness.MustVerify(t, other, "--all", "--store="+store)
			t.Logf("%d bits: %d refused, %d harmless", len(places), refused, harmless)
			if refused == 0 || harmless == 0 {
				t.Error("there are bits of both kinds")
			}
		})
	}
}

// contents is every file of a store, and what is in its tmp: all but the
// directories that gc leaves empty.
func contents(t *testing.T, store string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, store), func(name string) bool {
		return strings.HasSuffix(name, "/") && !strings.HasPrefix(name, "tmp/")
	})
}

// smallArchives is an image in each form that programs save one in.
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

// placesIn chooses bytes of an archive: some of every header, content and
// padding, and of its end; and of one that is compressed, some anywhere.
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

// An archive that claims to be huge, or expands to it, is refused. It costs little
// memory, and no more disk than bytes have arrived.
func TestBombStaysWithinMemoryAndDisk(t *testing.T) {
	harness.Parallel(t)
	for name, bomb := range map[string]struct {
		write func(w io.Writer) error
		disk  string // that there is
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

// mustStayModest has the converter read what write writes, on a disk that has no
// more than that. It must refuse it, and take no more than 200 MiB of memory
// meanwhile.
func mustStayModest(t *testing.T, disk string, write func(io.Writer) error, says string) {
	t.Helper()
	harness.Need(t, "root", "unshare", "bin/converter")
	const script = `mount -t tmpfs -o size="$2" tmpfs "$1"; exec "$3" --store "$1/store"`
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", script, "sh", t.TempDir(), disk, harness.InRepo("bin/converter"))
	r, w := io.Pipe()
	defer r.Close() // what is not read is not written
	go func() { w.CloseWithError(write(w)) }()
	input := &gauge{cmd: cmd, r: r}
	cmd.Stdin = input
	harness.MustRefuse(t, cmd, says)
	if input.peak == 0 || input.peak > 200<<20 {
		t.Errorf("it took %d bytes of memory", input.peak)
	}
	t.Logf("it took %d MiB of memory", input.peak>>20)
}

// A gauge is a program's input. Whenever the program is to get some, the gauge
// notes how much memory the program has had at most.
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

// peakMemory is the most memory that a process has had at once. (What wait tells
// counts that of the process that started it as well.)
func peakMemory(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended
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

// A declaration is an entry whose content need not be as long as its header says.
type declaration struct {
	tar.Header
	content io.Reader
}

func declared(name string, size int64, content io.Reader) declaration {
	return declaration{tar.Header{Name: name, Mode: 0o644, Size: size, Format: tar.FormatGNU}, content}
}

// tarOf writes an archive, which ends where a content is shorter than declared.
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

// jsonOf is a document of n bytes with a long string in it.
func jsonOf(n int64) io.Reader {
	const begin, end = `[{"Config":"`, `"}]`
	return io.MultiReader(strings.NewReader(begin), io.LimitReader(endless('x'), n-int64(len(begin+end))), strings.NewReader(end))
}

// endless is a byte again and again.
type endless byte

func (b endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

// A layer is never refused for being no valid tar, and is kept to the byte; but
// for not being what the config says.
func TestLayerIsKeptWhateverItsTarDeclares(t *testing.T) {
	harness.Parallel(t)
	var layer bytes.Buffer
	for _, size := range []int64{5 << 50, 1 << 62} { // within the other's content
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

// archiveOfTars is what docker save writes of an image with a layer of that
// diff_id, where entries are written that have the layer's name, one after
// another.
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

// Of ten thousand entries of one name the last counts, as it does in unpacking. The
// others leave nothing behind.
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
		t.Errorf("with others before it the layer gives %s, and alone %s", got, want)
	}
	if got, want := contents(t, store), contents(t, alone); !slices.Equal(got, want) {
		t.Errorf("in the store are %q, and of the last alone %q", got, want)
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

// Converters that put one image into a store at the same time, each when the
// others are as far, all succeed, and it is there once.
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
						t.Errorf("%d at once: %v, one prints %q and says %q", converters, err, stdout, stderr)
					}
				})
			}
			wg.Wait()
			harness.MustVerify(t, want, "--all", "--store="+store)
			if got, want := contents(t, store), contents(t, alone); !slices.Equal(got, want) {
				t.Errorf("%d at once: in the store are %q, and of one %q", converters, got, want)
			}
		}
	}
}

// A meeting is a reader without bytes that ends when all who meet read.
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

// When a node is killed during an import, the error names it and no reference is
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
	kubo.Await(t, "blocks", func() bool { return blocks() > before })
	kubo.Cmd.Process.Kill()
	<-kubo.Ended
	w.Write(image[48<<20:])
	w.Close()
	<-refused
	if left := names(t, tmp); len(left) > 1 {
		t.Errorf("left behind are %q", left)
	}
}

// A node with a token takes images from a converter that has it. Without it, the error
// names the option, however large the image is.
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
